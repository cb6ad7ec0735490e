"""Builds that fail: what the user sees of it, and that nothing else has changed."""

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Distribution, Index, good, images
from tests.support.absence import lacking
from tests.support.base_images import BaseImages, Python
from tests.support.builds import wait_for
from tests.support.disk import UnavailableError, disk
from tests.support.engines import Engine
from tests.support.images import BUILDERS, Image
from tests.support.makes import Make
from tests.support.projects import PYTHON, Machine, Project, Result
from tests.support.registries import PASSWORD, USER, Registry


def complaint(result: Result, code: int) -> str:
    """Return what a command that failed with a code said of it: one error, for people."""
    assert result.code == code, result.text
    assert result.out == ""
    assert "Traceback" not in result.err
    assert "envkit-bug" not in result.err
    (found,) = re.finditer(r"^error: ", result.err, re.MULTILINE)
    return result.err[found.start() :]


class Kept:
    """A project's image, which failures leave as it is."""

    def __init__(self, project: Project, engine: Engine) -> None:
        images.build(project)
        self._project, self._engine = project, engine
        self._image = Image(engine, f"{project.root.name}:latest")
        self._before = self._image.id
        self._images = set(engine.images())

    def runs(self) -> bool:
        """Return whether the image is of use."""
        return self._image.run().out == "hello\n"

    def check(self) -> None:
        """Make sure that nothing is left of a build, and that the image is what it was."""
        assert self._image.id == self._before
        assert self.runs()
        new = set(self._engine.images()) - self._images
        # The classic builder's cache is images without a name, which a failed build may have added.
        assert not [name for name in new if not name.startswith(("envkit/", "sha256:"))]
        assert images.idle(self._engine)
        assert self._project.machine.leftovers() == []


def test_no_engine(desk: Machine) -> None:
    project = images.project(desk, "no-engine", "alpha-1.0")
    address = f"unix://{desk.folder}/nobody.sock"
    said = complaint(project.envkit("build", env={"DOCKER_HOST": address}), 3)
    first, second = said.splitlines()
    assert first == f"error: No Docker Engine at {address} (DOCKER_HOST): no such file or directory"
    assert second.startswith("hint: ")


def test_no_permission(published: Index, engine: Engine, tmp_path: Path) -> None:
    """Another user of the machine, who is not in the group that may use the engine."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    machine = images.machine(tmp_path, published, engine)
    project = images.project(machine, "not-permitted")
    # pytest's folders are for one user alone; the socket's has to be one that others may enter.
    for path in (tmp_path, *tmp_path.parents):
        if path != Path("/") and path.stat().st_mode & 0o777 == 0o700:
            path.chmod(0o755)
    engine.folder.chmod(0o755)
    for folder, _, files in os.walk(tmp_path):
        for name in (".", *files):
            os.chown(Path(folder, name), 65534, 65534)
    machine.through = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    try:
        said = complaint(project.envkit("build", env={"HOME": str(tmp_path / "home")}), 3)
    finally:
        engine.folder.chmod(0o700)
    assert f"No permission to use the Docker Engine's socket {engine.socket}" in said
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_command_that_fails(desk: Machine, engine: Engine, builder: str) -> None:
    project = images.project(desk, f"failing-{builder}", "alpha-1.0")
    kept = Kept(project, engine)
    text = images.dockerfile() + "RUN for n in 1 2 3; do echo line $n; done; echo why >&2; exit 7\n"
    images.write(project, text)
    line = len(text.splitlines())
    said = complaint(project.envkit("build", "--builder", builder), 4)
    first, *rest = said.splitlines()
    assert first.startswith(f"error: Dockerfile:{line}: ")
    assert first.endswith("failed with exit code 7:")
    # Which of two streams is read first is the engine's business.
    assert sorted(rest[:4]) == ["line 1", "line 2", "line 3", "why"]
    kept.check()


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_dockerfile_with_a_mistake(desk: Machine, engine: Engine, builder: str) -> None:
    project = images.project(desk, f"mistaken-{builder}", "alpha-1.0")
    kept = Kept(project, engine)
    text = images.dockerfile() + "RNU true\n"
    images.write(project, text)
    said = complaint(project.envkit("build", "--builder", builder), 2)
    assert f"error: Dockerfile:{len(text.splitlines())}: " in said
    assert "RNU" in said
    kept.check()


@pytest.mark.parametrize("text", ["", "# nothing\n", "nonsense\n", "RUN true\n", "FROM\n"])
def test_what_is_no_dockerfile(desk: Machine, text: str) -> None:
    name = f"senseless-{abs(hash(text)) % 1000}"
    project = images.project(desk, name, "alpha-1.0", text=text)
    said = complaint(project.envkit("build"), 2)
    assert said.startswith("error: Dockerfile")
    assert len(said.splitlines()) <= 2


def test_a_base_that_is_nowhere(desk: Machine, engine: Engine, registry: Registry) -> None:
    project = images.project(desk, "baseless", "alpha-1.0")
    kept = Kept(project, engine)
    for base, words in (
        (f"{registry.host}/absent:1", "or in its registry"),
        ("127.0.0.1:1/absent:1", "cannot be reached"),
    ):
        result = project.envkit("build", "--build-arg", f"BASE={base}")
        assert result.code in {3, 4}
        said = complaint(result, result.code)
        assert base in said
        assert words in said
        assert said.splitlines()[1].startswith("hint: ")
        assert len(said.splitlines()) == 2
        kept.check()


def test_a_registry_that_refuses(desk: Machine, engine: Engine, locked_registry: Registry) -> None:
    project = images.project(desk, "locked-out", "alpha-1.0")
    kept = Kept(project, engine)
    host = locked_registry.host
    name = f"{host}/locked-out:1"
    said = complaint(project.envkit("build", "--push", "--tag", name), 4)
    assert f"Could not push '{name}': {host} wants to know who you are" in said
    assert f"hint: Log in (`docker login {host}`), then run this again." in said
    engine.ask("login", "--username", USER, "--password", PASSWORD, host)
    try:
        result = images.build(project, "--push", "--tag", name)
    finally:
        engine.ask("logout", host)
    assert f"Pushed {name}: " in result.err
    engine.ask("rmi", name)
    kept.check()


def test_a_registry_that_vanishes(desk: Machine, engine: Engine, registry: Registry) -> None:
    project = images.project(desk, "vanishing", "alpha-1.0")
    kept = Kept(project, engine)
    registry.vanish_at("/manifests/")
    name = f"{registry.host}/vanishing:1"
    said = complaint(project.envkit("build", "--push", "--tag", name), 4)
    assert f"Could not push '{name}'" in said
    assert len(said.splitlines()) <= 2
    engine.ask("rmi", name)
    kept.check()


def test_offline(index: Index, bare_store: Path, engine: Engine, tmp_path: Path) -> None:
    index.add(good()["alpha-1.0"], good()["delta-1.0"])
    machine = images.machine(tmp_path, index, engine, store=bare_store)
    project = images.project(machine, "offline-lacking", "alpha-1.0")
    kept = Kept(project, engine)
    project.lock("alpha-1.0", "delta-1.0")
    result = project.envkit("build", "--offline")
    said = complaint(result, result.code)
    assert result.code in {3, 4}
    assert "delta" in said
    assert len(said.splitlines()) <= 2
    kept.check()
    project.install()
    images.build(project, "--offline")


def test_an_index_without_what_the_lock_names(
    index: Index, bare_store: Path, engine: Engine, tmp_path: Path
) -> None:
    index.add(good()["alpha-1.0"], good()["delta-1.0"])
    machine = images.machine(tmp_path, index, engine, store=bare_store)
    project = images.project(machine, "lost-wheel", "alpha-1.0")
    kept = Kept(project, engine)
    project.lock("alpha-1.0", "delta-1.0")
    index.replace_bytes(good()["delta-1.0"].filename, b"something else")
    result = project.envkit("build")
    said = complaint(result, result.code)
    assert result.code > 0
    assert "delta" in said
    kept.check()


def test_a_store_that_is_for_reading_alone(
    published: Index, full_store: Path, engine: Engine, tmp_path: Path
) -> None:
    """What an administrator's store has is not fetched, and is not written to."""
    machine = images.machine(tmp_path, published, engine)
    machine.environ["ENVKIT_STORE_READONLY"] = str(full_store)
    project = images.project(machine, "read-only", "alpha-1.0", "commands-1.0")
    images.build(project, "--offline")
    assert Image(engine, "read-only:latest").installed() == {"alpha": "1.0", "commands": "1.0"}


def test_links_that_lead_outside(desk: Machine, engine: Engine) -> None:
    """They are links in the image too: what they lead to here is never packed."""
    outside = desk.folder / "outside"
    outside.write_text("outside", encoding="utf-8")
    project = images.project(desk, "linking", "alpha-1.0")
    (project.root / "link").symlink_to(outside)
    (project.root / "folder").symlink_to("/etc")
    (project.root / "nowhere").symlink_to("../nowhere")
    images.build(project)
    image = Image(engine, "linking:latest")
    assert image.says("readlink", "link", "folder", "nowhere").split() == [
        str(outside),
        "/etc",
        "../nowhere",
    ]
    assert image.run("cat", "link").code == 1


def test_a_file_that_cannot_be_read(published: Index, engine: Engine, tmp_path: Path) -> None:
    machine = images.machine(tmp_path, published, engine)
    project = images.project(machine, "unreadable")
    os.mknod(project.root / "device", 0o020600, os.makedev(1, 3))
    said = complaint(project.envkit("build"), 2)
    assert said.startswith(f"error: {project.root}/device: a device cannot be packed\nhint: Add ")


def test_a_file_that_changes_while_it_is_packed(desk: Machine, engine: Engine) -> None:
    project = images.project(desk, "changing", "alpha-1.0")
    kept = Kept(project, engine)
    log = project.root / "log"
    log.write_bytes(b"x" * 1000)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            with log.open("ab") as file:
                file.write(b"x")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        result = project.envkit("build", "--builder", "api")
    finally:
        done.set()
        thread.join()
    said = complaint(result, 2)
    assert said.splitlines() == [
        f"error: {log} changed while it was packed",
        "hint: Run it again.",
    ]
    kept.check()


@pytest.fixture(scope="module")
def small(
    newest_make: Make,
    base_images: BaseImages,
    python: Python,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    """An engine whose disk is soon full."""
    try:
        with (
            disk(tmp_path_factory.mktemp("small")) as one,
            Engine(newest_make, data=one.place / "data") as engine,
        ):
            base_images.load(engine, f"python:{PYTHON}-slim", python)
            yield engine
    except UnavailableError as reason:
        lacking(reason)


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_full_disk_in_a_command(
    published: Index, full_store: Path, small: Engine, tmp_path: Path, builder: str
) -> None:
    machine = images.machine(tmp_path, published, small, store=full_store)
    project = images.project(machine, f"full-{builder}", "alpha-1.0")
    kept = Kept(project, small)
    images.write(project, images.dockerfile() + "USER 0\nRUN cat /dev/zero > /zeros\n")
    result = project.envkit("build", "--builder", builder)
    said = complaint(result, result.code)
    assert "the Docker Engine's disk is full" in said
    assert "`docker system df`" in said
    # What the step had written is let go of a little later.
    wait_for(kept.runs)
    kept.check()


def test_a_full_disk_while_layers_are_loaded(
    index: Index, bare_store: Path, small: Engine, tmp_path: Path
) -> None:
    huge = Distribution(name="huge", files={"huge.bin": os.urandom(1 << 20) * 330})
    index.add(huge, good()["alpha-1.0"])
    machine = images.machine(tmp_path, index, small, store=bare_store)
    project = images.project(machine, "full-load", "alpha-1.0")
    kept = Kept(project, small)
    project.lock(huge)
    result = project.envkit("build")
    said = complaint(result, result.code)
    assert "disk is full" in said
    assert len(said.splitlines()) == 2
    kept.check()
