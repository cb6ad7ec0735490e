"""What decides an image: its base, `[tool.envkit.image]`, options, and what they may not say."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import Index, images
from tests.support.base_images import BaseImages, Python
from tests.support.engines import Engine
from tests.support.images import Image
from tests.support.projects import PYTHON, Machine, Project, Result


@pytest.fixture
def desk(published: Index, full_store: Path, engine: Engine, tmp_path: Path) -> Machine:
    return images.machine(tmp_path, published, engine, store=full_store)


@pytest.fixture
def absent(machine: Machine) -> Machine:
    """A machine whose engine does not listen: nothing that is decided beforehand asks one."""
    machine.environ["DOCKER_HOST"] = f"unix://{machine.folder}/nobody.sock"
    return machine


def refused(project: Project, *arguments: str, code: int = 2) -> str:
    """Run `envkit build`, which has to refuse that in a few lines; return them."""
    result = project.envkit("build", *arguments)
    assert result.code == code, result.text
    assert result.out == ""
    assert "Traceback" not in result.err
    lines = result.err.strip().splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1
    return result.err


def planned(project: Project, *arguments: str) -> Mapping[str, object]:
    """Return what `envkit build --dry-run` says that would be built."""
    plan = project.succeed("build", "--dry-run", "--json", *arguments).json
    assert isinstance(plan, dict)
    return plan


def test_another_python_is_refused(
    desk: Machine, engine: Engine, base_images: BaseImages, other_python: Python
) -> None:
    base = f"other-python:{other_python.version}"
    base_images.load(engine, base, other_python)
    project = images.project(desk, "other", "alpha-1.0", settings=f'[image]\nbase = "{base}"\n')
    said = refused(project)
    assert f"error: {base} has Python {other_python.version}." in said
    assert f"but requirements.txt was compiled for Python {PYTHON}" in said
    assert "hint: Name a base with that Python" in said
    assert not Image(engine, "other:latest").exists
    assert images.idle(engine)


def test_a_base_without_python_is_refused(
    desk: Machine, engine: Engine, base_images: BaseImages
) -> None:
    base_images.load(engine, "none:1", None)
    project = images.project(desk, "bare", "alpha-1.0", settings='[image]\nbase = "none:1"\n')
    said = refused(project, code=3)
    assert "error: none:1 has no python3" in said
    assert "hint: Name another one" in said
    assert not Image(engine, "bare:latest").exists
    assert images.idle(engine)


def test_a_base_whose_python_is_none_is_refused(
    desk: Machine, engine: Engine, base: str, tmp_path: Path
) -> None:
    folder = tmp_path / "silent-python"
    folder.mkdir()
    text = f"FROM {base}\nRUN ln -sf /bin/true /usr/local/bin/python3\n"
    (folder / "Dockerfile").write_text(text, encoding="utf-8")
    engine.ask("build", "--tag", "silent-python:1", str(folder))
    project = images.project(desk, "silenced", "alpha-1.0")
    said = refused(project, "--build-arg", "BASE=silent-python:1", code=3)
    assert "error: The python3 of silent-python:1 does not answer as Python does" in said
    assert "hint: Name another one" in said
    assert images.idle(engine)


def test_settings_are_handed_in(desk: Machine, engine: Engine, base: str) -> None:
    settings = f"""
[image]
name = "team/served"
base = "{base}"
user = "4321:8765"
[image.labels]
"org.example.team" = "données"
[image.args]
GREETING = "good day"
"""
    text = images.dockerfile() + "ARG GREETING\nENV GREETING=$GREETING\n"
    project = images.project(desk, "settings", "alpha-1.0", settings=settings, text=text)
    result = images.build(project, "--label", "more=1")
    assert "Built team/served:latest" in result.err
    image = Image(engine, "team/served:latest")
    assert image.says("id", "-u") == "4321"
    assert image.says("id", "-g") == "8765"
    assert image.says("printenv", "GREETING") == "good day"
    labels = image.labels
    assert (labels["org.example.team"], labels["more"]) == ("données", "1")
    # What is on the command line has the last word, and a name alone is the environment's.
    images.build(project, "--build-arg", "GREETING", env={"GREETING": "hi"})
    assert image.says("printenv", "GREETING") == "hi"


def test_packages_of_debian(absent: Machine) -> None:
    settings = '[image]\napt = ["libgomp1", "ffmpeg"]\n'
    project = images.project(absent, "packages", "alpha-1.0", settings=settings)
    assert planned(project)["arguments"] == {"APT": "libgomp1 ffmpeg"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[image]\nbsae = 'x'\n", ("image.bsae: unknown key", "Did you mean base?")),
        ("[image]\nzzz = 'x'\n", ("image.zzz: unknown key", "Known: ")),
        ("[image]\nname = 'Team'\n", ("image.name", "must be small letters")),
        ("[image]\nname = 'team:1'\n", ("image.name", "--tag")),
        ("[image]\napt = 'libgomp1'\n", ("image.apt",)),
        ("[image]\napt = ['--force-yes']\n", ("image.apt", "names of Debian packages")),
        ("[image]\nuser = 'a:b:c'\n", ("image.user", "10001:10001")),
        ("[image]\nlabels = ['a']\n", ("image.labels",)),
        ("[image]\nargs = {A = 1}\n", ("image.args",)),
        ("image = 'x'\n", ("image: must be a table",)),
    ],
)
def test_settings_that_make_no_sense(absent: Machine, settings: str, said: tuple[str, ...]) -> None:
    project = images.project(absent, "senseless", "alpha-1.0")
    (project.root / "envkit.toml").write_text(settings, encoding="utf-8")
    text = refused(project)
    assert "envkit.toml" in text
    for words in said:
        assert words in text


@pytest.mark.parametrize(
    ("setting", "argument"),
    [('base = "debian"', "BASE"), ('apt = ["ffmpeg"]', "APT"), ('user = "1:1"', "APP_USER")],
)
def test_a_setting_that_the_dockerfile_has_no_argument_for(
    absent: Machine, setting: str, argument: str
) -> None:
    project = images.project(
        absent, "no-argument", "alpha-1.0", settings=f"[image]\n{setting}\n", text="FROM scratch\n"
    )
    said = refused(project)
    assert f"image.{setting.split(maxsplit=1)[0]}" in said
    assert f"Dockerfile has no ARG {argument} to hand it in with" in said


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ((), ["tagged:latest"]),
        ((":1.2",), ["tagged:1.2"]),
        (("other",), ["other:latest"]),
        (("host:5000/team/app", ":1", ":1"), ["host:5000/team/app:latest", "tagged:1"]),
        (("127.0.0.1:5000/a/b__c:V1.2-rc_1",), ["127.0.0.1:5000/a/b__c:V1.2-rc_1"]),
    ],
)
def test_names(absent: Machine, tags: tuple[str, ...], names: list[str]) -> None:
    project = images.project(absent, "tagged", "alpha-1.0")
    options = [part for tag in tags for part in ("--tag", tag)]
    assert planned(project, *options)["tags"] == names


@pytest.mark.parametrize(
    "tag",
    ["App:1", "app:", ":", "app:1:2", "a b", "app:-1", "-app", "", "app:" + "x" * 129, "a//b"],
)
def test_names_that_are_none(absent: Machine, tag: str) -> None:
    project = images.project(absent, "tagged", "alpha-1.0")
    said = refused(project, f"--tag={tag}")
    assert "is no name for an image" in said
    assert "host:5000/team/app:1.2" in said


@pytest.mark.parametrize(
    ("folder", "name"),
    [("My App", "my-app"), ("日本", "app"), ("__a__b__", "a-b"), ("x" * 220, "x" * 200)],
)
def test_names_come_from_the_projects(absent: Machine, folder: str, name: str) -> None:
    project = images.project(absent, folder, "alpha-1.0")
    assert planned(project)["tags"] == [f"{name}:latest"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--build-arg", "NOWHERE_SET"), "--build-arg NOWHERE_SET: the variable is not set"),
        (("--label", "=x"), "--label =x: is not NAME=VALUE"),
        (("--deps", "uv"), "'uv' is not one of"),
        (("--tga", "x"), "Did you mean '--tag'?"),
    ],
)
def test_options_that_make_no_sense(absent: Machine, options: tuple[str, ...], said: str) -> None:
    project = images.project(absent, "senseless", "alpha-1.0")
    result = project.envkit("build", *options)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_an_unknown_builder(desk: Machine) -> None:
    project = images.project(desk, "unbuilt", "alpha-1.0")
    said = refused(project, "--builder", "podman")
    assert "error: 'podman' is no builder" in said
    assert "buildx, buildx:NAME, api or classic" in said


def test_a_dockerfile_without_a_place_for_distributions(desk: Machine, engine: Engine) -> None:
    """Then it has them from wherever it says; the rest is as with any other."""
    text = f'FROM python:{PYTHON}-slim\nCOPY main.py /\nCMD ["python3", "/main.py"]\n'
    project = images.project(desk, "placeless", "alpha-1.0", text=text)
    result: Result = images.build(project, "--json")
    outcome = json.loads(result.out)
    assert outcome["dependencies"] == "Dockerfile"
    image = Image(engine, "placeless:latest")
    assert image.run().out == "hello\n"
    assert set(image.labels) >= {"dev.envkit.lock", "dev.envkit.code"}
    said = refused(project, "--deps", "store")
    assert "--deps store: Dockerfile has no ARG DEPS that names a stage of it" in said


def test_no_dockerfile_no_lock(absent: Machine) -> None:
    project = images.project(absent, "without", "alpha-1.0")
    (project.root / "Dockerfile").unlink()
    said = refused(project)
    assert f"{project.root}/Dockerfile does not exist" in said
    assert "`envkit init` writes one" in said
    images.write(project, images.dockerfile())
    (project.root / "requirements.in").write_text("alpha\nbeta\n", encoding="utf-8")
    assert "envkit lock" in refused(project)
    (project.root / "requirements.txt").unlink()
    assert "envkit lock" in refused(project)
