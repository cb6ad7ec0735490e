"""What many tests need: an index with everything good, machines that know it, an engine."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import Index, good, makes, tracing
from tests.support.absence import lacking
from tests.support.authority import Authority
from tests.support.base_images import BaseImages, Python, started
from tests.support.engines import Engine
from tests.support.makes import Make, UnavailableError
from tests.support.nvml import Nvml, gpus
from tests.support.projects import Machine
from tests.support.tracing import Tracer

# So many generated examples are tried of each property, and how many times as many thoroughly.
_EXAMPLES, _THOROUGH = 100, 50


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help=f"try {_THOROUGH} times as many examples, others in each run, and do what is slow",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let generated examples be the same in each run, unless it is a thorough one."""
    thorough = config.getoption("--thorough")
    hypothesis.settings.register_profile(
        "envkit",
        deadline=None,
        derandomize=not thorough,
        max_examples=_EXAMPLES * (_THOROUGH if thorough else 1),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("envkit")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let what the tests start be interrupted, which background jobs of scripts are not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index that offers all good distributions; no test may change it."""
    with Index(tmp_path_factory.mktemp("published")) as index:
        index.add(*good().values())
        yield index


@pytest.fixture(scope="session")
def bare_store(published: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which an empty environment was made, so that nobody waits for that again."""
    machine = Machine(tmp_path_factory.mktemp("bare"), published)
    project = machine.project()
    project.lock()
    project.install()
    return machine.store


@pytest.fixture(scope="session")
def full_store(
    published: Index, bare_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A store that has all good distributions."""
    machine = Machine(tmp_path_factory.mktemp("full"), published)
    machine.seed_from(bare_store)
    project = machine.project()
    left = dict(good())
    while left:
        # One version of each at a time.
        chosen = {one.name: key for key, one in left.items()}
        project.lock(*chosen.values())
        project.install()
        for key in chosen.values():
            del left[key]
    return machine.store


@pytest.fixture
def machine(published: Index, full_store: Path, tmp_path: Path) -> Machine:
    """A machine that has seen all good distributions; their files in its store are shared.

    No test may write into them.
    """
    made = Machine(tmp_path, published)
    made.seed_from(full_store)
    return made


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index of a test's own, which offers nothing yet."""
    with Index(tmp_path / "index") as made:
        yield made


@pytest.fixture
def fresh_machine(index: Index, bare_store: Path, tmp_path: Path) -> Machine:
    """A machine that has seen no distribution, with an index of its own."""
    made = Machine(tmp_path, index)
    made.seed_from(bare_store)
    return made


@pytest.fixture(scope="session")
def tracer() -> Tracer:
    """What lets system calls fail, or be answered by a signal."""
    if not tracing.works():
        pytest.skip("strace is not there, or may not look into processes here")
    return Tracer()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that nobody trusts unasked."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Nvml:
    """The stand-in for the driver, compiled once."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler here")
    return Nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(library: Nvml) -> Nvml:
    """The stand-in, with four GPUs that nobody uses."""
    library.says(gpus(4))
    return library


@pytest.fixture
def leases(tmp_path: Path) -> Path:
    """A folder for leases."""
    folder = tmp_path / "leases"
    folder.mkdir(mode=0o770)
    folder.chmod(0o3770)
    return folder


@pytest.fixture(scope="session")
def base_images() -> Iterator[BaseImages]:
    """The base images of all engines."""
    # Not in pytest's folder, of which those of earlier sessions are kept.
    with tempfile.TemporaryDirectory() as folder:
        yield BaseImages(Path(folder))


@pytest.fixture(scope="session")
def python() -> Python:
    """The Python that runs the tests."""
    return Python.of(sys.executable)


@pytest.fixture(scope="session")
def newest_make() -> Make:
    """The programs of the newest engine here."""
    try:
        return makes.newest()
    except UnavailableError as reason:
        lacking(reason)


@pytest.fixture(scope="session")
def engine(newest_make: Make, base_images: BaseImages, python: Python) -> Iterator[Engine]:
    """The newest engine, with the base image that `base` names; no test may stop it."""
    with started(newest_make, base_images, python) as made:
        yield made
