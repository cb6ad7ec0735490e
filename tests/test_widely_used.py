"""Widely used distributions, installed by pip and by envkit from one lock: the same files."""

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.support.projects import run

pytestmark = pytest.mark.network

# A module of each that can be imported: by the distribution's name.
DISTRIBUTIONS = {
    "aiohttp": "aiohttp",
    "attrs": "attr",
    "beautifulsoup4": "bs4",
    "black": "black",
    "boto3": "boto3",
    "certifi": "certifi",
    "click": "click",
    "cloudpickle": "cloudpickle",
    "contourpy": "contourpy",
    "cryptography": "cryptography.fernet",
    "cython": "Cython",
    "dask": "dask",
    "datasets": "datasets",
    "django": "django",
    "fastapi": "fastapi",
    "flask": "flask",
    "fonttools": "fontTools",
    "gunicorn": "gunicorn",
    "h5py": "h5py",
    "httpx": "httpx",
    "huggingface-hub": "huggingface_hub",
    "ipython": "IPython",
    "jinja2": "jinja2",
    "joblib": "joblib",
    "jsonschema": "jsonschema",
    "jupyterlab": "jupyterlab",
    "lightgbm": "lightgbm",
    "lxml": "lxml.etree",
    "matplotlib": "matplotlib.pyplot",
    "mypy": "mypy",
    "networkx": "networkx",
    "nltk": "nltk",
    "numba": "numba",
    "numpy": "numpy",
    "onnx": "onnx",
    "opencv-python-headless": "cv2",
    "optuna": "optuna",
    "orjson": "orjson",
    "pandas": "pandas",
    "pillow": "PIL.Image",
    "plotly": "plotly",
    "polars": "polars",
    "protobuf": "google.protobuf",
    "psutil": "psutil",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "pyyaml": "yaml",
    "pytest": "pytest",
    "requests": "requests",
    "ruff": "ruff",
    "scikit-learn": "sklearn.linear_model",
    "scipy": "scipy.linalg",
    "seaborn": "seaborn",
    "sqlalchemy": "sqlalchemy",
    "statsmodels": "statsmodels",
    "sympy": "sympy",
    "tensorboard": "tensorboard",
    "tokenizers": "tokenizers",
    "tqdm": "tqdm",
    "transformers": "transformers",
}

# Installed in the usual run: among them scripts, native code, data files, a namespace package.
SAMPLE = ("black", "fonttools", "ipython", "protobuf", "pyyaml", "sqlalchemy")

# docs/differences.md: who installed it, and that it was asked for.
_OTHERWISE = re.compile(r".*\.dist-info/(INSTALLER|REQUESTED|direct_url\.json)")

# Scripts of entry points are compared as such, not by their text; none is longer, in bytes.
_LONGEST_SCRIPT = 600


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let the usual run have a sample of the distributions."""
    chosen = DISTRIBUTIONS if metafunc.config.getoption("--thorough") else SAMPLE
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", chosen)
    if "names" in metafunc.fixturenames:
        metafunc.parametrize("names", [tuple(chosen)], ids=["all"])


class Place:
    """A folder in which envkit and pip install from one lock."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        dropped = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
        self.environ = {name: value for name, value in os.environ.items() if name not in dropped}
        self.environ |= {
            "ENVKIT_STORE": str(store),
            "ENVKIT_COMPILE": "off",
            "MPLBACKEND": "agg",
            "MPLCONFIGDIR": str(store),
        }

    @property
    def ours(self) -> Path:
        """The environment that envkit made."""
        return self.folder / ".venv"

    @property
    def theirs(self) -> Path:
        """The environment that pip made."""
        return self.folder / "theirs"

    def run(self, *command: str) -> str:
        """Run a command that has to succeed, and return what it printed."""
        done = run(command, cwd=self.folder, env=self.environ, limit=1800)
        assert done.code == 0, done.text
        return done.out

    def install(self, names: Iterable[str]) -> None:
        """Lock some distributions, and install them with envkit and with pip."""
        self.run(sys.executable, "-m", "envkit", "init", ".", *names)
        make = [sys.executable, "-m", "virtualenv", "--quiet", "--no-setuptools"]
        self.run(*make, str(self.theirs))
        pip = [str(self.theirs / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        self.run(*pip, "--no-compile", "--no-deps", "--require-hashes", "-r", "requirements.txt")

    def imports(self, environment: Path, modules: Iterable[str]) -> None:
        for module in modules:
            self.run(str(environment / "bin" / "python"), "-B", "-c", f"import {module}")


def files(environment: Path) -> dict[str, str]:
    """Return what distributions brought into an environment: path -> sha256 of its content.

    Scripts name their own environment, which is taken out; RECORD is compared row by row.
    """
    found = {}
    for folder, _, names in os.walk(environment):
        for name in names:
            path = Path(folder, name)
            place = path.relative_to(environment).as_posix()
            if path.is_symlink() or _is_ours_alone(place):
                continue
            content = path.read_bytes()
            if place.startswith("bin/"):
                content = content.replace(os.fsencode(environment), b"ENVIRONMENT")
                if b"sys.exit(" in content and len(content) < _LONGEST_SCRIPT:
                    content = b"an entry point"
            if not place.endswith(".dist-info/RECORD"):
                found[place] = hashlib.sha256(content).hexdigest()
    return found


def _is_ours_alone(place: str) -> bool:
    """Return whether a file is the environment's, and no distribution's."""
    top = place.partition("/")[0]
    return (
        top in (".envkit", "pyvenv.cfg", ".gitignore", "CACHEDIR.TAG")
        or place.startswith(("bin/activate", "bin/deactivate", "bin/python", "bin/pip"))
        or re.search(r"site-packages/(_virtualenv|pip(-[^/]*)?(/|\.virtualenv)|__pycache__)", place)
        is not None
        or _OTHERWISE.fullmatch(place) is not None
        or place.endswith(".pyc")
    )


def refuse_wrong_records(environment: Path) -> None:
    """Make sure that each RECORD names files that are there, with the hashes that they have."""
    for record in environment.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        site = record.parents[1]
        for path, hashed, size in csv.reader(record.read_text(encoding="utf-8").splitlines()):
            content = (site / path).read_bytes()
            if hashed:
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
                assert hashed == "sha256=" + digest.decode().rstrip("="), path
                assert int(size) == len(content), path


def entry_points(place: Place, environment: Path) -> object:
    """Return the entry points of all distributions but pip, as Python finds them."""
    code = (
        "import importlib.metadata as m, json\n"
        "found = {str((d.name, e.group, e.name, e.value)) for d in m.distributions()"
        " if d.name != 'pip' for e in d.entry_points}\n"
        "print(json.dumps(sorted(found)))"
    )
    return json.loads(place.run(str(environment / "bin" / "python"), "-c", code))


def compare(place: Place, names: Iterable[str]) -> None:
    """Install distributions with both, and make sure that it comes to the same."""
    place.install(names)
    assert files(place.ours) == files(place.theirs)
    refuse_wrong_records(place.ours)
    assert entry_points(place, place.ours) == entry_points(place, place.theirs)
    place.imports(place.ours, (DISTRIBUTIONS[name] for name in names))
    place.run(sys.executable, "-m", "envkit", "verify", "--depth", "hashes")
    # Sixty of them would fill a disk.
    shutil.rmtree(place.folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("widely-used") / "store"


def test_each_alone(name: str, store: Path, tmp_path: Path) -> None:
    compare(Place(tmp_path / "place", store), [name])


def test_all_together(names: Sequence[str], store: Path, tmp_path: Path) -> None:
    compare(Place(tmp_path / "place", store), names)
