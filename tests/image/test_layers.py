"""Which layer a distribution is in, and what a layer's bytes are."""

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.environment.parts import Distribution
from envkit.environment.tree import Layout, Leaf, Linked, Pointed, Written
from envkit.errors import AlteredError
from envkit.image import layers
from envkit.image.layers import ROOT, TIME, Item, Layer

LAYOUT = Layout.of("3.12")
SKELETON = (Item(f"{ROOT}/pyvenv.cfg", Written(b"home = /usr/bin\n", False)),)

MEGABYTE = 1 << 20


class Weighing(Distribution):
    """A distribution of one file, whose size the name of its entry says."""

    def leaves(self, layout: Layout) -> Iterator[tuple[str, dict[str, Leaf]]]:
        """Yield its file, and one that all others have as well."""
        size = int(self.entry.rpartition("-")[2])
        yield f"{layout.site}/{self.name}", {"data": Linked(self.entry, 1, size, 1, "0" * 64)}


def weighing(name: str, size: int, version: str = "1") -> Distribution:
    return Weighing(name, version, f"/wheels/{name}-{version}-{size}", "", "/python", False)


def plan(parts: Sequence[Distribution]) -> tuple[Layer, ...]:
    return layers.plan(SKELETON, parts, LAYOUT)


def paths(layer: Layer) -> set[str]:
    return {item.path for item in layer.items}


names = st.text("abcdefghij", min_size=1, max_size=6)
sizes = st.sampled_from([0, 1000, MEGABYTE, 5 * MEGABYTE, 12 * MEGABYTE, 30 * MEGABYTE]) | (
    st.integers(0, 5000 * MEGABYTE)
)
locks = st.dictionaries(names, sizes, max_size=60)


@given(locks)
def test_each_file_is_in_one_layer(sized: Mapping[str, int]) -> None:
    parts = [weighing(*pair) for pair in sized.items()]
    found = plan(parts)
    every = [item.path for layer in found for item in layer.items]
    expected = {f"{ROOT}/{LAYOUT.site}/{name}/data" for name in sized}
    assert sorted(every) == sorted(expected | {SKELETON[0].path})
    assert found[0].items == SKELETON
    assert len({layer.key for layer in found}) == len(found)


@given(locks, st.randoms())
def test_the_order_of_a_lock_decides_nothing(sized: Mapping[str, int], random: object) -> None:
    parts = [weighing(*pair) for pair in sized.items()]
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    ours, theirs = plan(parts), plan(shuffled)
    assert list(map(paths, ours)) == list(map(paths, theirs))


@given(locks, names, st.data())
def test_a_bump_changes_one_layer(sized: Mapping[str, int], name: str, data: st.DataObject) -> None:
    """Another version of about the same size: all other layers stay what and where they are."""
    size = data.draw(sizes)
    rest = [weighing(*pair) for pair in sized.items() if pair[0] != name]
    before = plan([*rest, weighing(name, size)])
    after = plan([*rest, weighing(name, size, "2")])
    assert len(before) == len(after)
    assert sum(one.key != other.key for one, other in zip(before, after, strict=True)) == 1


@given(locks, names, st.integers(0, 3 * MEGABYTE))
def test_what_is_new_and_light_leaves_what_is_below(
    sized: Mapping[str, int], name: str, size: int
) -> None:
    parts = [weighing(*pair) for pair in sized.items() if pair[0] != name]
    before, after = plan(parts), plan([*parts, weighing(name, size)])
    changed = [layer.key for layer in before if layer.key not in {one.key for one in after}]
    # At most the one that it is in, which is the topmost.
    assert changed in ([], [before[-1].key])
    assert after[-1].key not in {layer.key for layer in before}


@given(st.lists(st.integers(64 * MEGABYTE, 4000 * MEGABYTE), max_size=200))
def test_there_are_never_too_many(weights: Sequence[int]) -> None:
    """Engines take 127 layers in all; bases and Dockerfiles have theirs."""
    found = plan([weighing(f"n{number}", size) for number, size in enumerate(weights)])
    assert len(found) <= 1 + 40 + 3 + 3 + 2 + 1


def test_the_heavy_is_at_the_bottom() -> None:
    wanted = [("huge", 900), ("large", 100), ("heavy", 20), ("middling", 9), ("light", 5), ("a", 0)]
    found = plan([weighing(name, size * MEGABYTE) for name, size in reversed(wanted)])
    assert [layer.title for layer in found] == ["environment", *(f"{name} 1" for name, _ in wanted)]


def test_a_title_names_a_few() -> None:
    (_, found) = plan([weighing(name, 10) for name in ("a", "b", "c", "d", "e")])
    assert found.title == "a 1, b 1, c 1 and 2 more"


class Sharing(Distribution):
    """A distribution that has a path which others have as well."""

    def leaves(self, layout: Layout) -> Iterator[tuple[str, dict[str, Leaf]]]:
        yield layout.site, {"shared.py": Written(self.name.encode(), False)}


def test_a_path_of_two_is_the_later_ones() -> None:
    one, two = (Sharing(name, "1", f"/wheels/{name}", "", "/python", False) for name in "ab")
    for parts, owner in (((one, two), b"b"), ((two, one), b"a")):
        (_, found) = plan(parts)
        assert [item.leaf for item in found.items] == [Written(owner, False)]
    # Who loses it is another layer than alone, as it has another content.
    assert plan([one, two])[1].key != plan([two, one])[1].key


def of(folder: Path, **contents: bytes) -> Layer:
    """Return a layer of files of a store."""
    items = []
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        items.append(Item(f"{ROOT}/x/{name}", Linked(str(path), 1, len(content), 1, sha256)))
    return Layer("title", "key", tuple(items), 0)


def test_the_archive_of_a_layer(tmp_path: Path) -> None:
    stored = of(tmp_path, plain=b"content", run=b"#!/bin/sh\n", empty=b"")
    (tmp_path / "run").chmod(0o555)
    (tmp_path / "plain").chmod(0o400)
    deep = "/".join(["deeper"] * 40)
    written = Item(f"{ROOT}/{deep}/naïve.txt", Written(b"text", False))
    layer = stored._replace(items=(*stored.items, written, Item(f"{ROOT}/l", Pointed("x/plain"))))
    packed = b"".join(layers.stream(layer))
    assert len(packed) == layers.size(layer)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = {member.name: member for member in archive}
        contents = {name: archive.extractfile(name) for name in members if members[name].isfile()}
        read = {name: file.read() for name, file in contents.items() if file}
    assert read == {
        f"{ROOT}/x/plain": b"content",
        f"{ROOT}/x/run": b"#!/bin/sh\n",
        f"{ROOT}/x/empty": b"",
        f"{ROOT}/{deep}/naïve.txt": b"text",
    }
    assert members[f"{ROOT}/l"].linkname == "x/plain"
    assert members[f"{ROOT}/x/run"].mode == members[ROOT].mode == 0o755
    assert members[f"{ROOT}/x/plain"].mode == 0o644
    assert {(one.mtime, one.uid, one.gid, one.uname) for one in members.values()} == {
        (TIME, 0, 0, "")
    }
    # Each folder stands before what is in it, once.
    listed = list(members)
    for name in listed[1:]:
        assert listed.index(name.rpartition("/")[0]) < listed.index(name)


@pytest.mark.parametrize("content", [b"CONTENT", b"contents", b"conten", b""])
def test_what_was_altered_is_noticed(tmp_path: Path, content: bytes) -> None:
    layer = of(tmp_path, file=b"content")
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(AlteredError) as raised:
        list(layers.stream(layer))
    assert raised.value.source == str(tmp_path / "file")


def test_what_has_gone_or_is_a_link_is_noticed(tmp_path: Path) -> None:
    layer = of(tmp_path, file=b"content")
    (tmp_path / "file").rename(tmp_path / "other")
    with pytest.raises(AlteredError):
        list(layers.stream(layer))
    (tmp_path / "file").symlink_to("other")
    with pytest.raises(AlteredError):
        list(layers.stream(layer))
