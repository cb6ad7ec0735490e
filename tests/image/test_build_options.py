"""What may be asked of `envkit build`, and what makes no sense."""

import pytest

from tests.support import images
from tests.support.projects import Machine, Project


@pytest.fixture(scope="module")
def project(desk: Machine) -> Project:
    return images.project(desk, "senseless", "alpha-1.0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--build-arg", "NOPE=1"], "--build-arg NOPE: Dockerfile has no ARG NOPE"),
        (["--build-arg", "DEPS=pip"], "--build-arg DEPS: envkit hands this in itself"),
        (["--build-arg", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE: the variable is not set"),
        (["--build-arg", "=1"], "--build-arg =1: is not NAME=VALUE"),
        (["--label", "x"], "--label x: is not NAME=VALUE"),
        (["--platform", "amd64"], "--platform amd64: must be as in linux/amd64"),
        (["--platform", "linux/amd64,linux/arm64"], "is kept by a registry"),
    ],
)
def test_options_that_make_no_sense(project: Project, arguments: list[str], words: str) -> None:
    result = project.envkit("build", "--dry-run", *arguments)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") <= 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('args = { NOPE = "1" }', "image.args: NOPE: Dockerfile has no ARG NOPE"),
        ('base = "a"\nargs = { BASE = "b" }', "another setting of the image stands for this"),
        ('platforms = ["amd64"]', "image.platforms: 'amd64' must be as in linux/amd64"),
    ],
)
def test_settings_that_make_no_sense(project: Project, settings: str, words: str) -> None:
    file = project.root / "envkit.toml"
    before = file.read_text(encoding="utf-8")
    file.write_text(f"{before}[image]\n{settings}\n", encoding="utf-8")
    result = project.envkit("build", "--dry-run")
    file.write_text(before, encoding="utf-8")
    assert result.code == 2
    assert words in result.err


def test_what_needs_no_arg_may_be_handed_in(project: Project) -> None:
    project.succeed("build", "--dry-run", "--build-arg", "HTTPS_PROXY=http://127.0.0.1:1")


def test_another_platform_is_never_given_what_was_made_for_this_one(desk: Machine) -> None:
    project = images.project(desk, "foreign", "alpha-1.0")
    images.build(project)
    result = project.envkit("build", "--platform", "linux/s390x")
    assert "another platform than the engine's" in result.err
    assert "localhost/envkit" not in result.err
    assert result.code


def test_a_script_is_run_by_the_python_of_the_image(desk: Machine) -> None:
    project = images.project(desk, "scripted", "alpha-1.0")
    (project.root / "say.py").write_text("import alpha; print(alpha.__name__)", encoding="utf-8")
    images.build(project)
    assert project.succeed("run", "--image", "say.py").out == "alpha\n"


def test_a_large_context_is_worth_a_word(desk: Machine) -> None:
    project = images.project(desk, "bulky", "alpha-1.0")
    with (project.root / "data.bin").open("wb") as file:
        file.truncate(120_000_000)
    said = images.build(project).err
    assert "with buildx, 120 MB of files" in said
    assert "the largest is data.bin (120 MB)" in said
