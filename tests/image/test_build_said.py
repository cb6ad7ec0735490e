"""What `envkit build` says before, while and after it builds, and what the image says of itself."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import Index, good, images
from tests.support.engines import Engine
from tests.support.images import BUILDERS, Image
from tests.support.projects import PYTHON, Machine, Project, Snapshot, snapshot


def nodes(project: Project) -> Sequence[Snapshot]:
    return snapshot(project.root), snapshot(project.machine.store, without=["tmp"])


def test_a_dry_run_changes_nothing_and_asks_no_engine(desk: Machine, base: str) -> None:
    project = images.project(desk, "dry", "alpha-1.0", "beta-1.0")
    before = nodes(project)
    nobody = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    result = project.succeed("build", "--dry-run", "--tag", ":1", "--push", env=nobody)
    lines = dict(line.split(None, 1) for line in result.out.splitlines())
    assert lines["build"] == "dry:1 with buildx"
    assert lines["from"] == base
    assert lines["deps"] == "auto, on base"
    assert re.fullmatch(r"5 files, \d+(\.\d)? k?B", lines["context"])
    assert lines["push"] == "dry:1"
    again = project.succeed("build", "--dry-run", "--json", env=nobody)
    assert again.out == project.succeed("build", "--dry-run", "--json").out
    assert again.json["labels"]["org.opencontainers.image.title"] == "dry"
    after = nodes(project)
    assert [
        sorted(now.items() - then.items()) for now, then in zip(after, before, strict=True)
    ] == [[], []]


@pytest.mark.parametrize("builder", BUILDERS)
def test_check_says_why_a_build_is_needed(
    desk: Machine, engine: Engine, base: str, builder: str
) -> None:
    project = images.project(desk, f"checked-{builder}", "alpha-1.0")

    name = f"checked-{builder}:latest"

    def reasons() -> str:
        before = engine.images()
        result = project.envkit("build", "--check", "--builder", builder)
        assert result.out == ""
        assert engine.images() == before
        assert result.code in {0, 1}, result.err
        if not result.code:
            assert result.err == "Nothing would be built\n"
            return ""
        return result.err.removeprefix(f"{name} would be built: ").rstrip()

    never = "it was never built here, or is not there any more"
    assert reasons() == never
    images.build(project, "--builder", builder)
    assert not reasons()
    (project.root / "new.py").touch()
    assert reasons() == "the code changed"
    (project.root / "new.py").unlink()
    assert not reasons()
    # What has changed in time alone is no reason.
    (project.root / "main.py").touch()
    assert not reasons()
    project.lock("alpha-1.1")
    assert reasons() == "the lock changed, the code changed"
    images.build(project, "--builder", builder)
    assert not reasons()
    images.write(project, images.dockerfile() + "ENV A=b\n")
    # It is in the build context as well, unless that leaves it out.
    assert reasons() == "the code changed, Dockerfile changed"
    status = project.envkit("status").out
    assert f"{name}  older than the code and the Dockerfile: `envkit build`" in status
    images.build(project, "--builder", builder)
    engine.ask("tag", base, name)
    assert reasons() == f"{name} is not its name"
    engine.ask("rmi", "--force", name)
    images.build(project, "--builder", builder)
    more = project.envkit("build", "--check", "--json", "--tag", ":2", "--builder", builder)
    assert more.code == 1
    assert more.json == {"needed": True, "reasons": [f"checked-{builder}:2 is not its name"]}


def test_nothing_is_said_of_a_need_where_there_is_no_engine(desk: Machine) -> None:
    project = images.project(desk, "unknown", "alpha-1.0")
    nobody = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    result = project.envkit("build", "--check", env=nobody)
    assert result.code == 3
    assert "No Docker Engine" in result.err


def test_the_result_as_json(desk: Machine, engine: Engine) -> None:
    """Programs read it: a key that is there today will be there tomorrow."""
    project = images.project(desk, "told", "alpha-1.0")
    first = images.build(project, "--json", "--tag", ":1", "--tag", ":2").json
    image = Image(engine, "told:2")
    assert first.keys() == {
        *("image", "tags", "size", "before", "layers", "added", "dependencies", "builder"),
        *("changed", "pushed"),
    }
    assert first["image"] == image.id
    assert first["tags"] == ["told:1", "told:2"]
    assert first["size"] == image.about["Size"]
    assert first["layers"] == len(image.layers) == len(first["added"])
    assert {tuple(layer) for layer in first["added"]} == {("made_by", "size")}
    rest = {key: first[key] for key in ("before", "dependencies", "builder", "changed", "pushed")}
    assert rest == {
        "before": None,
        "dependencies": "store",
        "builder": "buildx",
        "changed": True,
        "pushed": [],
    }
    second = images.build(project, "--json", "--tag", ":1").json
    assert (second["changed"], second["added"], second["before"]) == (False, [], first["size"])
    # Nothing but the object is on standard output.
    (project.root / "more.py").write_text("# " + "x" * 5000, encoding="utf-8")
    third = images.build(project, "--json", "--tag", ":1").json
    assert (third["changed"], len(third["added"])) == (True, 1)
    assert third["size"] - first["size"] >= 5000


@pytest.mark.parametrize("builder", BUILDERS)
def test_plain_lines_for_ci(desk: Machine, builder: str) -> None:
    text = images.dockerfile() + "USER 0\nRUN echo one; echo two >&2; printf '\\033[31mthree\\n'\n"
    project = images.project(desk, f"plain-{builder}", "alpha-1.0", text=text)
    said = images.build(project, "--progress", "plain", "--builder", builder, "--no-cache").err
    lines = said.splitlines()
    at = next(number for number, line in enumerate(lines) if "RUN echo one" in line)
    assert "  one" in lines[at:]
    assert "  two" in lines[at:]
    assert "\x1b" not in said
    assert [line for line in lines if line.endswith("three")]
    # Without it, a build that succeeds keeps that to itself.
    (project.root / "more.py").touch()
    assert "  one" not in images.build(project, "--builder", builder).err


def test_what_the_size_was_before(desk: Machine) -> None:
    project = images.project(desk, "grown", "alpha-1.0")
    images.build(project)
    (project.root / "data.bin").write_bytes(b"x" * 3_000_000)
    said = images.build(project).err
    assert re.search(
        r"Built grown:latest in .*: [\d.]+ MB \(\+3\.0 MB\); 1 of \d+ layers new", said
    )
    (project.root / "data.bin").unlink()
    assert re.search(r"\(-3\.0 MB\)", images.build(project).err)


def test_what_an_image_says_of_itself(desk: Machine, engine: Engine) -> None:
    project = images.project(desk, "labelled", "alpha-1.0")
    project.git("init", "--quiet")
    project.git("add", ".")
    project.git("commit", "--quiet", "--message", "One")
    url = "https://ada:s3cret@example.org/team/labelled.git"
    project.git("remote", "add", "origin", url)
    revision = project.git("rev-parse", "HEAD")
    image = Image(engine, "labelled:latest")
    said = images.build(project).text
    prefix = "org.opencontainers.image."
    labels = dict(image.labels)
    assert labels[f"{prefix}title"] == "labelled"
    assert labels[f"{prefix}revision"] == revision
    assert labels[f"{prefix}source"] == "https://example.org/team/labelled.git"
    assert f"{prefix}created" not in labels
    assert re.fullmatch("sha256:[0-9a-f]{64}", labels["dev.envkit.lock"])
    assert "s3cret" not in json.dumps(labels) + said + json.dumps(image.about)
    assert "s3cret" not in engine.ask("history", "--no-trunc", image.name)
    (project.root / "main.py").write_text("print('dirty')\n", encoding="utf-8")
    images.build(project)
    assert image.labels[f"{prefix}revision"] == f"{revision}-dirty"
    assert image.labels["dev.envkit.code"] != labels["dev.envkit.code"]
    assert image.labels["dev.envkit.lock"] == labels["dev.envkit.lock"]


def test_when_it_was_made_is_said_when_asked(desk: Machine, engine: Engine) -> None:
    project = images.project(desk, "dated", "alpha-1.0")
    images.build(project, "--created", env={"SOURCE_DATE_EPOCH": "1000000000"})
    image = Image(engine, "dated:latest")
    label = "org.opencontainers.image.created"
    assert image.labels[label] == "2001-09-09T01:46:40Z"
    result = project.envkit("build", "--created", env={"SOURCE_DATE_EPOCH": "soon"})
    assert result.code == 2
    assert result.err.startswith("error: SOURCE_DATE_EPOCH: 'soon' is no time\nhint: ")
    images.build(project, "--created")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", image.labels[label])
    images.build(project)
    assert label not in image.labels


def test_what_was_altered_in_the_store_never_comes_into_an_image(
    published: Index, bare_store: Path, engine: Engine, tmp_path: Path
) -> None:
    machine = images.machine(tmp_path, published, engine, store=bare_store)
    project = images.project(machine, "altered", "delta-1.0", "schemes-1.0")
    project.install()
    sha256 = published.sha256(good()["delta-1.0"].filename)
    path = machine.store / "wheels-v1" / sha256 / "tree" / "site" / "delta.py"
    content = path.read_text(encoding="utf-8")
    path.chmod(0o644)
    # Of the same length, and at another time than the store knows of.
    path.write_text(content.replace("2", "6"), encoding="utf-8")
    before = published.downloads(good()["delta-1.0"].filename)
    said = images.build(project, "--no-cache").err
    assert "was altered in the store; it is set aside and made anew" in said
    assert published.downloads(good()["delta-1.0"].filename) == before + 1
    image = Image(engine, "altered:latest")
    assert image.python("import delta; print(delta.DEPTH)") == "2"
    assert [path.name for path in (machine.store / "set-aside").rglob("delta.py")]
    assert path.read_text(encoding="utf-8") == content
    assert PYTHON in image.python("import sys; print(sys.version)")
