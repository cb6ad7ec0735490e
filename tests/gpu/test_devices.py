"""The real binding of NVML, over a stand-in for the library beneath it; and the real one."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support import nvml
from tests.support.nvml import FakeGpu, Nvml, gpus, uuid

LISTING = """
import json
from envkit.gpu.devices import Driver
from envkit.errors import EnvkitError
try:
    with Driver() as driver:
        found = [
            {**gpu._asdict(), "handle": None, "usable": gpu.is_usable,
             "load": driver.load(gpu)._asdict(),
             "processes": (p := driver.processes(gpu)) and [one._asdict() for one in p]}
            for gpu in driver.gpus()
        ]
        print(json.dumps({"version": driver.version, "gpus": found}))
except EnvkitError as error:
    print(json.dumps({"error": error.message, "kind": type(error).__name__, "hint": error.hint}))
"""


def listed(environ: Mapping[str, str]) -> Any:
    """Return what a process that has these variables makes of the driver."""
    done = subprocess.run(
        [sys.executable, "-c", LISTING],
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_driver() -> None:
    found = listed({})
    if "gpus" in found:
        pytest.skip("there is a driver here")
    assert found["kind"] == "NoDriverError"
    assert "libnvidia-ml.so.1" in found["error"]


def test_a_driver_that_is_not_loaded(library: Nvml) -> None:
    library.says([], failure=nvml.NOT_LOADED)
    assert listed(library.environ)["kind"] == "NoDriverError"


def test_a_driver_that_was_upgraded_under_way(library: Nvml) -> None:
    library.says([], failure=nvml.MISMATCH)
    found = listed(library.environ)
    assert found["kind"] == "MissingError"
    assert "another version" in found["error"]
    assert found["hint"]


def test_a_driver_that_fails(library: Nvml) -> None:
    library.says([], failure=nvml.UNKNOWN)
    assert listed(library.environ)["error"].startswith("The NVIDIA driver does not work: ")


@pytest.mark.parametrize("count", [0, 1, 8])
def test_so_many(library: Nvml, count: int) -> None:
    library.says(gpus(count), version="555.42.02")
    found = listed(library.environ)
    assert found["version"] == "555.42.02"
    assert [one["uuid"] for one in found["gpus"]] == [uuid(number) for number in range(count)]
    assert [one["number"] for one in found["gpus"]] == list(range(count))
    assert all(one["usable"] for one in found["gpus"])


def test_the_order_is_that_of_the_bus(library: Nvml) -> None:
    library.says(list(reversed(gpus(4))))
    found = listed(library.environ)["gpus"]
    assert [(one["number"], one["uuid"]) for one in found] == [(n, uuid(n)) for n in range(4)]


def test_what_it_does(library: Nvml) -> None:
    busy = FakeGpu(uuid=uuid(0), total=1000, used=250, busy=97, processes={41: 100, 42: 150})
    library.says([busy])
    (found,) = listed(library.environ)["gpus"]
    mib = 1 << 20
    assert found["load"] == {
        "memory_used": 250 * mib,
        "memory_total": 1000 * mib,
        "utilisation": 97,
    }
    assert found["processes"] == [
        {"pid": 41, "memory": 100 * mib},
        {"pid": 42, "memory": 150 * mib},
    ]


def test_instances_stand_behind_their_gpu(library: Nvml) -> None:
    parts = [FakeGpu(uuid="MIG-1", processes={7: 1}), FakeGpu(uuid="MIG-2", name="H100 MIG 1g")]
    divided = FakeGpu(uuid=uuid(0), bus="00000000:01:00.0", state="divided", instances=parts)
    library.says([divided, FakeGpu(uuid=uuid(1), bus="00000000:02:00.0", state="mig")])
    found = listed(library.environ)["gpus"]
    assert [(one["uuid"], one["is_instance"], one["usable"]) for one in found] == [
        (uuid(0), False, False),
        ("MIG-1", True, True),
        ("MIG-2", True, True),
        (uuid(1), False, True),
    ]
    assert [one["number"] for one in found] == [0, 0, 0, 1]
    assert [len(one["processes"]) for one in found] == [0, 1, 0, 0]
    assert found[2]["name"] == "H100 MIG 1g"
    assert found[1]["load"]["utilisation"] is None


@pytest.mark.parametrize("state", ["lost", "gone"])
def test_a_lost_one_does_not_hide_the_others(library: Nvml, state: str) -> None:
    first, second, third = gpus(3)
    library.says([first, FakeGpu(uuid=second.uuid, bus=second.bus, state=state), third])
    found = listed(library.environ)["gpus"]
    # The others keep their numbers.
    assert [one["uuid"] for one in found] == [uuid(0), "", uuid(2)]
    assert found[1]["fault"] == "GPU is lost"
    assert not found[1]["usable"]
    assert found[1]["processes"] is None


def test_one_that_does_not_name_its_processes(library: Nvml) -> None:
    library.says([FakeGpu(uuid=uuid(0), state="silent")])
    (found,) = listed(library.environ)["gpus"]
    assert found["processes"] is None
    assert found["usable"]


@pytest.mark.parametrize(
    ("version", "is_believed"),
    [("535.43.02", False), ("535.86.10", False), ("535.104.05", True), ("525.60.13", True)],
)
def test_drivers_that_name_the_wrong_processes(
    library: Nvml, version: str, is_believed: bool
) -> None:
    library.says([FakeGpu(uuid=uuid(0), processes={1: 1})], version=version)
    (found,) = listed(library.environ)["gpus"]
    assert (found["processes"] is not None) is is_believed
