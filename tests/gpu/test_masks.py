"""What a list of devices means, and which variables say the same to each runtime."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.gpu import masks
from envkit.gpu.masks import CUDA, HIP, ROCR, Named

FOUR = [Named(number, f"GPU-{number}{number}ab-0000") for number in range(4)]
# Instances of a fifth GPU, which has none of its own to be seen as a whole.
MIXED = [*FOUR, Named(None, "MIG-aa00-1"), Named(None, "MIG-ab00-2")]


def seen(mask: str | None, devices: list[Named] = FOUR) -> list[int | str]:
    return [one.uuid if one.number is None else one.number for one in masks.visible(mask, devices)]


# CUDA C++ Programming Guide, "CUDA_VISIBLE_DEVICES": what is unset, empty, in another order, and
# what stands behind an invalid entry.
@pytest.mark.parametrize(
    ("mask", "expected"),
    [(None, [0, 1, 2, 3]), ("", []), ("2,1", [2, 1]), ("0,2,-1,1", [0, 2]), ("3", [3])],
)
def test_the_guides_own_examples(mask: str | None, expected: list[int]) -> None:
    assert seen(mask) == expected


# PyTorch documents its parser, which is to do as CUDA does, by these (torch/cuda, tests of
# `_parse_visible_devices`).
@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("1gpu2,2ampere", [1, 2]),
        ("0, 1, 2, -1, 3", [0, 1, 2]),
        ("0,0", []),
        ("2,1,2", []),
        ("gpu", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("9,1", []),
        ("1,9,2", [1]),
        ("1,,2", [1]),
        (" 2 ,1", [2, 1]),
        ("+1", [1]),
    ],
)
def test_as_other_parsers_have_it(mask: str, expected: list[int]) -> None:
    assert seen(mask) == expected


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("GPU-33ab-0000,GPU-00ab-0000", [3, 0]),
        ("GPU-2", [2]),
        ("GPU-", []),
        ("GPU-1,GPU-9,GPU-2", [1]),
        ("GPU-1,GPU-11ab", []),
        ("GPU-1,2", [1]),
        ("1,GPU-2", [1]),
        ("gpu-1", []),
        ("MIG-ab", ["MIG-ab00-2"]),
        ("MIG-aa,MIG-ab", ["MIG-aa00-1"]),
        ("MIG-a", []),
        ("GPU-0,MIG-aa", [0]),
        ("MIG-aa,0", ["MIG-aa00-1"]),
    ],
)
def test_names(mask: str, expected: list[int | str]) -> None:
    assert seen(mask, MIXED) == expected


entries = st.one_of(
    st.integers(-2, 5).map(str), st.sampled_from([one.uuid for one in MIXED]), st.text(max_size=5)
)


@given(st.lists(entries, max_size=6).map(",".join))
def test_only_what_is_there_is_seen_and_once(mask: str) -> None:
    found = masks.visible(mask, MIXED)
    assert set(found) <= set(MIXED)
    assert len(set(found)) == len(found)


@given(st.permutations(range(4)), st.integers(0, 4))
def test_the_order_of_a_list_is_kept(order: list[int], length: int) -> None:
    mask = ",".join(map(str, order[:length]))
    assert seen(mask) == order[:length]


@given(st.permutations(range(4)), st.integers(0, 4), st.lists(entries, max_size=3))
def test_nothing_behind_what_is_no_device_is_seen(
    order: list[int], length: int, rest: list[str]
) -> None:
    mask = ",".join([*map(str, order[:length]), "-1", *rest])
    assert seen(mask) == order[:length]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.data())
def test_what_comes_twice_hides_all(order: list[int], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(order))
    assert seen(",".join(map(str, [*order, again]))) == []


@given(st.permutations(range(4)), st.integers(1, 4))
def test_uuids_mean_what_their_indices_do(order: list[int], length: int) -> None:
    chosen = order[:length]
    assert seen(",".join(FOUR[one].uuid for one in chosen)) == chosen


def hip_sees(environ: dict[str, str], count: int) -> list[int]:
    """Return which of so many GPUs HIP shows, by its own rules (ROCm: "GPU isolation techniques").

    ROCR_VISIBLE_DEVICES hides first; what is left is counted anew for HIP_VISIBLE_DEVICES, in whose
    absence, or emptiness, CUDA_VISIBLE_DEVICES stands.
    """
    here = list(range(count))
    if ROCR in environ:
        here = [one for one in here if FOUR[one].uuid in environ[ROCR].split(",")]
    said = environ.get(HIP) or environ.get(CUDA) or ""
    if not said:
        return here
    found = []
    for entry in said.split(","):
        if not entry.isdecimal() or int(entry) >= len(here):
            break
        found.append(here[int(entry)])
    return found


@given(st.permutations(range(4)), st.integers(0, 4))
def test_rocm_sees_by_indices_what_cuda_sees(order: list[int], length: int) -> None:
    chosen = order[:length]
    assert hip_sees(masks.lists(",".join(map(str, chosen))), 4) == chosen


@given(st.sets(st.integers(0, 3), min_size=1))
def test_rocm_sees_by_uuids_what_cuda_sees(chosen: set[int]) -> None:
    mask = ",".join(FOUR[one].uuid for one in sorted(chosen))
    assert hip_sees(masks.lists(mask), 4) == sorted(chosen)


def test_an_empty_list_hides_all_from_both() -> None:
    environ = masks.lists("")
    assert environ[CUDA] == ""
    assert hip_sees(environ, 4) == []


def test_memory_growth_is_said_to_each_framework() -> None:
    assert masks.growth(None) == {}
    assert masks.growth(True) == {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    assert set(masks.growth(False).values()) == {"false", "true"}


variables = st.dictionaries(
    st.sampled_from([*masks.MASKS, masks.ORDER, "SLURM_JOB_GPUS", "PATH"]),
    st.sampled_from(["", "1"]),
)


@given(variables, st.sampled_from(["", "0", "GPU-1"]))
def test_nothing_that_is_set_is_overridden(environ: dict[str, str], mask: str) -> None:
    wanted = masks.variables(mask, order="PCI_BUS_ID", memory_growth=True)
    added = masks.added(environ, wanted)
    # But for the order that a list of numbers counts in, which comes with it.
    order = {masks.ORDER} if mask == "0" and CUDA in added else set()
    assert added.keys() & environ.keys() <= order
    assert masks.added({**environ, **added}, wanted) == {}


@given(variables, st.sampled_from(["", "0", "GPU-1"]))
def test_whoever_has_decided_has_decided(environ: dict[str, str], mask: str) -> None:
    wanted = masks.variables(mask, order="PCI_BUS_ID", memory_growth=None)
    now = masks.added(environ, wanted).keys() & {*masks.MASKS}
    if CUDA in environ or "SLURM_JOB_GPUS" in environ:
        assert now == set()
    elif environ.keys() & {HIP, ROCR}:
        assert now == {CUDA}
    else:
        assert now == wanted.keys() & {*masks.MASKS}


def test_numbers_without_end() -> None:
    assert seen("9" * 5000) == []
    assert seen("0," + "9" * 5000 + ",1") == [0]
