"""Proofs that the tests' engines, base images and registries are what they claim to be."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import engines, packages, processes
from tests.support.absence import lacking
from tests.support.base_images import BaseImages, Python
from tests.support.disk import UnavailableError, disk
from tests.support.engines import CONTAINERDS_STORE, Engine
from tests.support.makes import Make
from tests.support.projects import PYTHON, run
from tests.support.registries import PASSWORD, USER, Registry


@pytest.fixture
def own(newest_make: Make) -> Iterator[Engine]:
    """An engine of a test's own, with nothing in it."""
    with Engine(newest_make) as made:
        yield made


def context(folder: Path, dockerfile: str) -> str:
    """Make a folder from which an image can be built."""
    folder.mkdir()
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (folder / "greeting").write_text("hello\n", encoding="utf-8")
    return str(folder)


def wait_for(done: Callable[[], object]) -> None:
    """Wait until something is so; a failure if it never is."""
    until = time.monotonic() + 30
    while not done():
        assert time.monotonic() < until
        time.sleep(0.02)


def commands(word: str) -> list[str]:
    """Return the commands that run on this machine and in which a word is."""
    every = (" ".join(processes.command(number)) for number in processes.below(1))
    return [command for command in every if word in command]


def traces(name: str) -> list[str]:
    """Return what there is of an engine on this machine: processes, mounts, files, groups."""
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    found = commands(name) + [line for line in mounts if name in line]
    groups = Path("/sys/fs/cgroup").rglob(name)
    return found + [str(path) for path in (Path("/var", "tmp", name), *groups) if path.exists()]


def test_containers_run(engine: Engine, base: str) -> None:
    code = "import ssl, sqlite3, ctypes, bz2, lzma, sys; print('%d.%d' % sys.version_info[:2])"
    assert engine.ask("run", "--rm", base, "python3", "-c", code) == PYTHON
    shell = (
        "test -x /usr/bin/env && id -un && . /etc/os-release && echo $ID && grep -c : /etc/group"
    )
    user, distribution, groups = engine.ask("run", "--rm", base, "sh", "-ec", shell).split()
    assert user == "root"
    assert distribution in Path("/etc/os-release").read_text(encoding="utf-8")
    assert int(groups) > 10
    assert engine.containers() == engine.busy() == []


@pytest.mark.parametrize("which", ["engine", "older_engine"])
def test_containers_are_reached_by_published_ports(
    which: str, request: pytest.FixtureRequest, base: str
) -> None:
    engine: Engine = request.getfixturevalue(which)
    serve = ("python3", "-m", "http.server", "8000")
    engine.ask("run", "--detach", "--name", "web", "--publish", "127.0.0.1::8000", base, *serve)
    try:
        assert any(command.endswith(" ".join(serve)) for command in engine.busy())
        host = engine.ask("port", "web", "8000")
        fetch = f"import urllib.request as u; print(u.urlopen('http://{host}').status)"
        wait_for(lambda: run([sys.executable, "-c", fetch], cwd=Path("/"), env={}).out == "200\n")
    finally:
        engine.ask("rm", "--force", "web")
    wait_for(lambda: not engine.busy())


def test_images_are_built_by_either_builder(engine: Engine, base: str, tmp_path: Path) -> None:
    """With buildx, and by the engine's own API as the command line uses it otherwise."""
    dockerfile = (
        f"FROM {base}\nCOPY greeting /\nRUN python3 -c 'print(open(\"/greeting\").read())'\n"
    )
    folder = context(tmp_path / "context", dockerfile)

    def build(environ: Mapping[str, str], *options: str) -> str:
        result = engine.docker("build", *options, "--tag", "built", folder, environ=environ)
        assert result.code == 0, result.text
        engine.ask("rmi", "built")
        return result.text

    assert "[2/3] COPY greeting /" in build(engine.environ, "--progress", "plain")
    assert "Step 2/3 : COPY greeting /" in build(engine.bare_environ)
    assert engine.docker("buildx", "version").code == 0
    assert engine.docker("buildx", "version", environ=engine.bare_environ).code != 0


def test_the_older_engine_builds(older_engine: Engine, base: str, tmp_path: Path) -> None:
    version = older_engine.ask("version", "--format", "{{.Server.Version}}")
    installed = run(["/usr/sbin/dockerd", "--version"], cwd=tmp_path, env={}).out
    assert version in installed
    folder = context(tmp_path / "context", f"FROM {base}\nRUN --mount=type=cache,target=/c ls /c\n")
    builder = ("buildx", "build", "--load", "--progress", "plain")
    older_engine.ask(*builder, "--tag", "built", folder)
    older_engine.ask("rmi", "built")


def test_other_base_images(
    engine: Engine, base_images: BaseImages, other_python: Python, tmp_path: Path
) -> None:
    base_images.load(engine, "other:1", other_python, machines_authorities=True)
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    assert engine.ask("run", "--rm", "other:1", "python3", "-c", code) == other_python.version
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    trusted = engine.ask("run", "--rm", "other:1", "cat", bundle)
    assert trusted == Path(bundle).read_text(encoding="utf-8").strip()
    base_images.load(engine, "none:1", None)
    assert engine.docker("run", "--rm", "none:1", "python3").code == 127
    assert "BEGIN CERTIFICATE" in engine.ask("run", "--rm", "none:1", "cat", bundle)
    again = BaseImages(tmp_path).archive("none:1", None)
    assert again.read_bytes() == base_images.archive("none:1", None).read_bytes()


def test_a_base_image_with_apt(engine: Engine, base_images: BaseImages) -> None:
    release = Python.of_other_release()
    if release is None:
        lacking("no other release: see tests/support/get_engines.sh")
    # As the test before may have it.
    base_images.load(engine, "other:1", release, machines_authorities=True)
    code = "import ssl, sqlite3, sys; print('%d.%d' % sys.version_info[:2])"
    assert engine.ask("run", "--rm", "other:1", "python3", "-c", code) == release.version
    shell = (
        f"apt-get -qq update && apt-get -qq install {packages.NAME} >/dev/null && {packages.NAME}"
    )
    assert engine.ask("run", "--rm", "other:1", "sh", "-ec", shell) == packages.GREETING


def test_images_are_pushed_and_pulled(
    engine: Engine, base_images: BaseImages, registry: Registry, tmp_path: Path
) -> None:
    base_images.load(engine, "none:1", None)
    folder = context(tmp_path / "context", "FROM none:1\nCOPY greeting /\n")
    names = [f"{registry.host}/greeting:{number}" for number in (1, 2)]
    engine.ask("build", "--tag", names[0], folder)
    engine.ask("push", names[0])
    layers = registry.uploaded
    assert layers > 1_000_000
    (tmp_path / "context" / "greeting").write_text("goodbye\n", encoding="utf-8")
    engine.ask("build", "--tag", names[1], folder)
    engine.ask("push", names[1])
    assert 0 < registry.uploaded - layers < 50_000
    assert registry.tags("greeting") == ["1", "2"]
    engine.ask("rmi", *names)
    engine.ask("pull", names[0])
    assert engine.ask("run", "--rm", names[0], "cat", "/greeting") == "hello"
    engine.ask("rmi", names[0])


def test_registries_that_refuse_and_vanish(
    engine: Engine, base_images: BaseImages, registry: Registry, locked_registry: Registry
) -> None:
    base_images.load(engine, "none:1", None)
    locked, name = (f"{one.host}/none:1" for one in (locked_registry, registry))
    engine.ask("tag", "none:1", locked)
    engine.ask("tag", "none:1", name)
    assert "no basic auth credentials" in engine.docker("push", locked).err
    credentials = ("--username", USER, "--password")
    assert engine.docker("login", *credentials, "wrong", locked_registry.host).code == 1
    engine.ask("login", *credentials, PASSWORD, locked_registry.host)
    engine.ask("push", locked)
    engine.ask("logout", locked_registry.host)
    registry.vanish_at("/manifests/")
    assert engine.docker("push", name).code == 1
    assert registry.uploaded > 1_000_000
    assert "connection refused" in engine.docker("push", name).err
    engine.ask("rmi", locked, name)


# Ends when it is asked to, as the first process of a container would not by itself.
SLEEP = "trap 'exit 1' TERM; sleep 1000 & wait"


def test_an_engine_dies_in_mid_build_and_comes_back(
    own: Engine, base_images: BaseImages, tmp_path: Path
) -> None:
    base_images.load(own, "none:1", None)
    folder = context(tmp_path / "context", f"FROM none:1\nRUN {SLEEP}\n")
    for end, environ in ((own.kill, own.environ), (own.stop, own.bare_environ)):
        with subprocess.Popen(
            [str(own.make.docker), "build", folder],
            env={**os.environ, **environ},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as build:
            wait_for(lambda: "sleep 1000" in own.busy())
            end()
            assert build.communicate(timeout=30)[1]
            assert build.returncode > 0
        assert not own.answers()
        own.start()
        assert own.images() == ["none:1"]
        assert own.busy() == []
        own.ask("container", "prune", "--force")


def test_the_disk_of_an_engine_is_full(
    newest_make: Make, base_images: BaseImages, tmp_path: Path
) -> None:
    try:
        with disk(tmp_path) as small, Engine(newest_make, data=small.place / "data") as engine:
            base_images.load(engine, "none:1", None)
            folder = context(tmp_path / "context", "FROM none:1\nRUN cat /dev/zero > /zeros\n")
            for environ in (engine.environ, engine.bare_environ):
                result = engine.docker("build", folder, environ=environ)
                assert result.code == 1
                assert "No space left on device" in result.text
            # The container of a step that failed stays, and all that it wrote.
            engine.ask("container", "prune", "--force")
            engine.ask("run", "--rm", "none:1", "true")
    except UnavailableError as reason:
        lacking(reason)


def test_images_in_the_store_of_containerd(
    newest_make: Make, base_images: BaseImages, tmp_path: Path
) -> None:
    with Engine(newest_make, settings=CONTAINERDS_STORE) as engine:
        assert "io.containerd.snapshotter.v1" in engine.ask("info")
        base_images.load(engine, "none:1", None)
        folder = context(tmp_path / "context", "FROM none:1\nCOPY greeting /\n")
        engine.ask("build", "--tag", "built:1", folder)
        assert engine.ask("run", "--rm", "built:1", "cat", "/greeting") == "hello"


# Runs the newest engine until its standard input ends.
LEND = """\
import sys
from tests.support import engines, makes
with engines.Engine(makes.newest()) as engine:
    engine.ask("load", "--input", sys.argv[1])
    engine.ask("run", "--detach", "none:1", "sleep", "1000")
    print(engine.folder, engine.bridge, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.usefixtures("newest_make")
def test_nothing_is_left(base_images: BaseImages, killed: bool) -> None:
    """Of an engine whose tests were killed itself, files are left: nobody can remove them."""
    archive = str(base_images.archive("none:1", None))
    with subprocess.Popen(
        [sys.executable, "-c", LEND, archive],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        path, bridge = child.stdout.readline().split()
        folder = Path(path)
        # dockerd, its containerd, what holds the container.
        assert len(commands(folder.name)) >= 3
        interfaces = {bridge, *os.listdir(f"/sys/class/net/{bridge}/brif")}
        assert len(interfaces) == 2
        if killed:
            child.kill()
        child.stdin.close()
    if killed:
        wait_for(lambda: not commands(folder.name))
        engines.remove_traces(folder, bridge)
    assert traces(folder.name) == []
    wait_for(lambda: not interfaces & {*os.listdir("/sys/class/net")})
