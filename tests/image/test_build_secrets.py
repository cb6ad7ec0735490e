"""Build secrets: what is asked for, and that it is recognised wherever it turns up."""

from pathlib import Path

import pytest

from envkit.builders import secret
from envkit.errors import UsageError

VALUE = "v3ry-s3cret"


def test_from_the_environment() -> None:
    found = secret.parse(["id=token,env=TOKEN", "id=OTHER"], Path(), {"TOKEN": VALUE, "OTHER": "x"})
    assert [one.spec for one in found] == ["id=token,env=TOKEN", "id=OTHER,env=OTHER"]
    assert secret.values(found, {"TOKEN": VALUE, "OTHER": "x"}) == (VALUE,)


@pytest.mark.parametrize("name", ["token", "with space", "with,comma", 'with"quote'])
def test_from_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(f"{VALUE}\nsecond line\n\nab\n", encoding="utf-8")
    spec = f'id=t,"src={name.replace(chr(34), chr(34) * 2)}"'
    (found,) = secret.parse([spec], tmp_path, {})
    assert found.path == str(tmp_path / name)
    again = secret.parse([found.spec], tmp_path, {})
    assert again == (found,)
    hidden = secret.values([found], {})
    text = secret.hidden(f"<{VALUE}> and second line, ab", hidden)
    assert text == "<***> and ***, ab"
    assert secret.hidden(f"{VALUE}\nsecond line\n\nab", hidden) == "***"


@pytest.mark.parametrize(
    "spec",
    [
        *("", VALUE, "id=", "id=a,value=" + VALUE, "src=x", f"id=a,env=B,src={VALUE}"),
        *("id=a,env=NOTHING", "id=a,src=nothing", "id=nothing"),
    ],
)
def test_what_makes_no_sense_is_refused_without_being_shown(spec: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        secret.parse([spec], tmp_path, {"HOME": "/"})
    assert VALUE not in raised.value.message + raised.value.hint
    assert "build secret" in raised.value.message.lower()
