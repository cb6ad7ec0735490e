"""Engines that not all tests need, and what is built upon in them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from envkit import interpreter
from envkit.errors import MissingError
from tests.support import Index, images, makes
from tests.support.absence import lacking
from tests.support.base_images import BaseImages, Python, started
from tests.support.engines import Engine
from tests.support.makes import UnavailableError
from tests.support.projects import PYTHON, Machine
from tests.support.registries import Registry

# Any of these is another one than the tests run with.
OTHERS = [minor for minor in ("3.12", "3.13", "3.11", "3.10", "3.14", "3.9") if minor != PYTHON]


@pytest.fixture(scope="session")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """A Python of another minor version."""
    unpacked = Python.of_other_release()
    if unpacked is not None and unpacked.version != PYTHON:
        return unpacked
    cache = tmp_path_factory.mktemp("pythons")
    for minor in OTHERS:
        try:
            found = interpreter.find(minor, cache=cache, environ=os.environ)
        except MissingError:
            continue
        return Python.of(found.executable)
    return lacking("no second Python here")


@pytest.fixture(scope="session")
def older_engine(base_images: BaseImages, python: Python) -> Iterator[Engine]:
    """The distribution's own engine, with the same base image."""
    try:
        make = makes.distributions()
    except UnavailableError as reason:
        lacking(reason)
    with started(make, base_images, python) as made:
        yield made


@pytest.fixture(scope="module")
def desk(
    published: Index, full_store: Path, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Machine:
    """A machine that builds in the newest engine, whose store has all good distributions."""
    folder = tmp_path_factory.mktemp("desk")
    return images.machine(folder, published, engine, store=full_store)


@pytest.fixture(scope="session")
def base() -> str:
    """The base image that a project of this Python has unless it says otherwise."""
    return f"python:{PYTHON}-slim"


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry of a test's own, with nothing in it."""
    try:
        with Registry() as made:
            yield made
    except UnavailableError as reason:
        lacking(reason)


@pytest.fixture
def locked_registry() -> Iterator[Registry]:
    """A registry of a test's own, which wants to know who uses it."""
    try:
        with Registry(locked=True) as made:
            yield made
    except UnavailableError as reason:
        lacking(reason)
