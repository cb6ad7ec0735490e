"""What becomes of a file: cut short, a byte flipped, a line twice; and what never was one."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from hypothesis import strategies as st

Draw: TypeAlias = Callable[[st.SearchStrategy[int]], int]


def _place(draw: Draw, content: Sequence[object]) -> int:
    return draw(st.integers(0, max(0, len(content) - 1)))


def _cut(draw: Draw, content: bytes) -> bytes:
    return content[: _place(draw, content)]


def _flip(draw: Draw, content: bytes) -> bytes:
    place = _place(draw, content)
    flipped = bytes(byte ^ draw(st.integers(1, 255)) for byte in content[place : place + 1])
    return content[:place] + flipped + content[place + 1 :]


def _replace(draw: Draw, content: bytes) -> bytes:
    """Put a character that means something to many formats in the place of another."""
    place = _place(draw, content)
    marks = b"\"'[]{}()<>#;:,.=@\\/- \t\n\r\0%$&?!*0a\xff"
    return content[:place] + bytes([marks[_place(draw, marks)]]) + content[place + 1 :]


def _drop(draw: Draw, content: bytes) -> bytes:
    place = _place(draw, content)
    return content[:place] + content[place + draw(st.integers(1, 40)) :]


def _repeat(draw: Draw, content: bytes) -> bytes:
    place = _place(draw, content)
    piece = content[place : place + draw(st.integers(1, 40))]
    return content[:place] + piece * draw(st.sampled_from([2, 3, 500])) + content[place:]


def _double_line(draw: Draw, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    place = _place(draw, lines)
    return b"".join([*lines[: place + 1], *lines[place:]])


def _exchange_lines(draw: Draw, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    one, other = _place(draw, lines), _place(draw, lines)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


_WAYS = [_cut, _flip, _flip, _replace, _replace, _drop, _repeat, _double_line, _exchange_lines]


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return a file that was valid once, changed in one to four ways."""
    content = valid
    for way in draw(st.lists(st.sampled_from(_WAYS), min_size=1, max_size=4)):
        content = way(draw, content)
    return content


def damaged(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Return files of which most were one of these once, and some never were."""
    wholes = st.one_of(*map(mutated, valid))
    return st.one_of(wholes, wholes, wholes, st.binary(max_size=200), texts.map(str.encode))


def damaged_text(*valid: str) -> st.SearchStrategy[str]:
    """Return texts of which most were one of these once, and some never were."""
    files = damaged(*(one.encode() for one in valid))
    return files.map(lambda content: content.decode("utf-8", "replace"))


# Without surrogates, as they come out of a file that is UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
