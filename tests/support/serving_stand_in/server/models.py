"""The models that are served, and their versions: what becomes of them.

Sources: server_core.cc, file_system_storage_path_source.cc, loader_harness.cc, basic_manager.cc.
"""

import logging
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .servables import Servable
from .statuses import Code, StatusError

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Version:
    """A version of a model: where it is, and how far it has come."""

    model: str
    number: int
    path: str
    state: str = "START"
    error: StatusError | None = None
    servable: Servable | None = None

    def __str__(self) -> str:
        return f"{{name: {self.model} version: {self.number}}}"


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How versions are loaded.

    Attributes:
        pause: seconds that each takes longer than it needs.
        retries: how often it is tried again.
        interval: seconds between two tries.
        warm_up: whether the requests that lie beside a model are answered.
    """

    pause: float
    retries: int
    interval: float
    warm_up: bool


@dataclass(kw_only=True)
class Models:
    """All models.

    Attributes:
        loading: how their versions are loaded.
        any_labels: whether labels may be those of versions that are not available.
    """

    loading: Loading
    any_labels: bool
    _configs: dict[str, Any] = field(default_factory=dict)
    _labels: dict[str, dict[str, int]] = field(default_factory=dict)
    _versions: dict[str, dict[int, Version]] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    # TensorFlow builds one graph at a time.
    _one_load: threading.Lock = field(default_factory=threading.Lock)

    def configure(self, config: Any) -> None:
        """Serve what a ModelServerConfig lists; raises StatusError where it cannot be."""
        if config.WhichOneof("config") is None:
            _log.info("Taking no action for empty config.")
            return
        listed = config.model_config_list.config
        _check(listed)
        labels = {one.name: dict(one.version_labels) for one in listed}
        self._check_labels(labels)
        with self._changed:
            _log.info("Adding/updating models.")
            for one in listed:
                _log.info(" (Re-)adding model: %s", one.name)
            self._labels = labels
            self._configs = {one.name: one for one in listed}

    def poll(self, seconds: float) -> None:
        """Look for versions for ever, with pauses of so many seconds."""
        while True:
            self.look()
            time.sleep(seconds)

    def look(self) -> None:
        """Look for versions once, and begin to load and unload what has to be."""
        with self._changed:
            configs = dict(self._configs)
        for name in {*configs, *self._versions}:
            paths = _aspired(configs[name]) if name in configs else {}
            if paths is not None:
                self._begin(name, paths)

    def wait(self) -> None:
        """Wait until a version of each model is available, however long that takes.

        Raises:
            StatusError: one could not be loaded.
        """
        with self._changed:
            self._changed.wait_for(lambda: all(map(self._decided, self._configs)))
            decided = (self._decided(name) for name in self._configs)
            lost = [one for one in decided if one and one.state == "END"]
        if lost:
            parts = "".join(f"{{{one} due to error: {one.error}}}, " for one in lost)
            message = f"{len(lost)} servable(s) did not become available: {{{parts}}}"
            raise StatusError(Code.UNKNOWN, message)
        _log.info("Finished adding/updating models")

    def versions(self, name: str) -> list[Version]:
        """Return the versions of a model, the latest first."""
        with self._changed:
            known = self._versions.get(name, {})
            return [known[number] for number in sorted(known, reverse=True)]

    def available(self, name: str, number: int | None = None, label: str | None = None) -> Version:
        """Return a version that is available, the latest by default; raises StatusError."""
        if label is not None:
            number = self._labels.get(name, {}).get(label)
            if number is None:
                message = f"Unrecognized servable version label: {label}"
                raise StatusError(Code.INVALID_ARGUMENT, message)
        for version in self.versions(name):
            if version.state == "AVAILABLE" and number in (None, version.number):
                return version
        wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")

    def _decided(self, name: str) -> Version | None:
        """Return the latest version of a model of which it is known whether it can be had."""
        return next((one for one in self.versions(name) if one.state in ("AVAILABLE", "END")), None)

    def _check_labels(self, labels: dict[str, dict[str, int]]) -> None:
        for name, numbers in labels.items():
            ready = {one.number for one in self.versions(name) if one.state == "AVAILABLE"}
            for label, number in numbers.items():
                # What there is keeps its meaning until the version that it is to have is there.
                moved = self._labels.get(name, {}).get(label, number) != number
                if number not in ready and (moved or not self.any_labels):
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {name}, which is "
                        "not currently available for inference",
                    )

    def _begin(self, name: str, paths: dict[int, str]) -> None:
        with self._changed:
            known = self._versions.setdefault(name, {})
            for number, path in sorted(paths.items(), reverse=True):
                if number not in known or (
                    known[number].state == "END" and not known[number].error
                ):
                    known[number] = Version(model=name, number=number, path=path)
                    _start(self._load, known[number])
            ready = {number for number, one in known.items() if one.state == "AVAILABLE"}
            # What is available stays until what takes its place is.
            if ready & {*paths} or not paths:
                for number in ready - {*paths}:
                    self._set(known[number], "UNLOADING")
                    _start(self._unload, known[number])

    def _set(self, version: Version, state: str) -> None:
        with self._changed:
            version.state = state
            self._changed.notify_all()

    def _load(self, version: Version) -> None:
        _log.info("Loading servable version %s", version)
        self._set(version, "LOADING")
        for number in range(self.loading.retries + 1):
            try:
                with self._one_load:
                    time.sleep(self.loading.pause)
                    version.servable = Servable(version.path)
                    if self.loading.warm_up:
                        version.servable.warm_up()
            except StatusError as error:
                version.error = error
                _log.error("Loading servable: %s failed: %s", version, error)
                if number < self.loading.retries:
                    _log.info("Loading servable: %s retry: %d", version, number + 1)
                    time.sleep(self.loading.interval)
            else:
                version.error = None
                _log.info("Successfully loaded servable version %s", version)
                self._set(version, "AVAILABLE")
                return
        version.servable = None
        self._set(version, "END")

    def _unload(self, version: Version) -> None:
        _log.info("Unloading servable version %s", version)
        # It stays in memory, for whoever still asks it.
        time.sleep(self.loading.pause)
        _log.info("Done unloading servable version %s", version)
        self._set(version, "END")


def _start(function: Any, *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _check(configs: Iterable[Any]) -> None:
    names = set()
    for one in configs:
        if one.name in names:
            raise _illegal(f"Illegal to list model {one.name} multiple times in config list")
        names.add(one.name)
        if not os.path.isabs(one.base_path):
            raise _illegal(
                f"Expected model {one.name} to have an absolute path or URI; got base_path()="
                f"{one.base_path}"
            )
        if not one.model_platform and not one.model_type:
            raise _illegal(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                f"ModelServerConfig::model_platform, model name is {one.name}"
            )
        if one.model_platform not in ("", "tensorflow"):
            platform = one.model_platform
            raise _illegal(f"Model {one.name} requests unsupported platform {platform}")


def _illegal(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)


def _aspired(config: Any) -> dict[int, str] | None:
    """Return the folders of the versions that are to be served; none if that cannot be said."""
    base = config.base_path
    try:
        children = os.listdir(base)
    except OSError:
        _log.error(
            "FileSystemStoragePathSource encountered a filesystem access error: Could not find "
            "base path %s for servable %s with error NOT_FOUND: %s not found",
            *(base, config.name, base),
        )
        return None
    numbers = dict(_numbers(children))
    chosen = set(_chosen(config.model_version_policy, numbers.keys()))
    if not numbers.keys() & chosen:
        _log.warning(
            "No versions of servable %s found under base path %s. Did you forget to name your "
            "leaf directory as a number (eg. '/1/')?",
            *(config.name, base),
        )
    for number in chosen - numbers.keys():
        _log.warning(
            "Version %d of servable %s, which was requested to be served as a 'specific' version "
            "in the servable's version policy, was not found in the file system",
            *(number, config.name),
        )
    return {number: os.path.join(base, numbers[number]) for number in numbers.keys() & chosen}


def _numbers(names: Iterable[str]) -> Iterator[tuple[int, str]]:
    for name in sorted(names):
        if name.isascii() and name.isdigit():
            yield int(name), name


def _chosen(policy: Any, numbers: Collection[int]) -> Iterable[int]:
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return numbers
    if kind == "specific":
        return list(policy.specific.versions)
    return sorted(numbers)[-max(policy.latest.num_versions, 1) :]
