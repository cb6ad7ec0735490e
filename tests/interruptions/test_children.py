"""What a killed command had started, and that lives on."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from envkit.store.layout import Store

# A command with a program that works in its temporary folder until it can read from a pipe.
_COMMAND = """
import sys
from pathlib import Path
from envkit import process
from envkit.store.layout import Store
with Store(Path(sys.argv[1])).temporary() as folder:
    (folder / "draft").touch()
    process.run([sys.executable, "-c", "import sys; open(sys.argv[1]).read()", sys.argv[2]])
"""

_LIMIT = 30


def _wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + _LIMIT
    while not until():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_their_folder_is_theirs_until_they_end(tmp_path: Path) -> None:
    store, pipe = Store(tmp_path / "store"), tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", _COMMAND, str(store.root), str(pipe)]
    with subprocess.Popen(command) as child:
        # The pipe can be opened for writing as soon as somebody reads.
        with pipe.open("w"):
            child.kill()
            child.wait(_LIMIT)
            with store.temporary() as own:
                assert len(list(store.root.glob("tmp/*/draft"))) == 1
                assert own.is_dir()
        _wait(lambda: _swept(store))
    assert list(store.root.glob("tmp/*")) == []


def _swept(store: Store) -> bool:
    with store.temporary() as own:
        return list(own.parent.iterdir()) == [own]
