"""Projects that have the install script alone, and interpreters that lack one thing or another."""

import hashlib
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pip

import envkit

from .distributions import Distribution

SCRIPT = Path(envkit.__file__).parent / "templates" / "install.sh"
SHELLS = [["dash"], ["bash"], *([["busybox", "sh"]] if shutil.which("busybox") else [])]
NOTHING: Mapping[str, str] = MappingProxyType({})
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
DIGEST = "0" * 64

ALPHA = Distribution(
    name="alpha", files={"alpha.py": "def main(): print('alpha here')\n"},
    console_scripts={"alpha": "alpha:main"},
)  # fmt: skip
BETA = Distribution(name="beta", files={"beta.py": "\n"}, requires=("alpha",))


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with the script in it, and the environment variables that it runs under."""

    root: Path
    wheels: Path
    bin: Path
    env: dict[str, str]

    @property
    def python(self) -> Path:
        return self.root / ".venv/bin/python"

    def lock(
        self, *distributions: Distribution, group: str = "", python: str | None = HERE
    ) -> None:
        """Write a lock of these, and put their wheels where pip finds them."""
        lines = [] if python is None else [f"# envkit-lock: python={python} inputs=sha256:{DIGEST}"]
        for made in distributions:
            digest = hashlib.sha256(made.wheel(self.wheels).read_bytes()).hexdigest()
            lines.append(f"{made.name}=={made.version} \\\n    --hash=sha256:{digest}")
        name = f"requirements-{group}.txt" if group else "requirements.txt"
        (self.root / name).write_text("\n".join(lines) + "\n")

    def command(self, *options: str, shell: list[str] = SHELLS[0]) -> list[str]:
        return [str(shutil.which(shell[0])), *shell[1:], str(self.root / "install.sh"), *options]

    def run(
        self, *options: str, shell: list[str] = SHELLS[0], env: Mapping[str, str] = NOTHING
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*options, shell=shell), cwd="/", env={**self.env, **env}, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def install(
        self, *options: str, shell: list[str] = SHELLS[0], env: Mapping[str, str] = NOTHING
    ) -> str:
        """Run the script, which must succeed, and return what it said."""
        done = self.run(*options, shell=shell, env=env)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    def fail(self, code: int, *options: str, env: Mapping[str, str] = NOTHING) -> str:
        """Run the script, which must exit with this code, and return its errors."""
        done = self.run(*options, env=env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    def has(self, module: str) -> bool:
        command = [str(self.python), "-I", "-c", f"import {module}"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def pretend(self) -> None:
        """Make what passes for an environment by envkit, with a file of the user's in it."""
        (self.root / ".venv/.envkit").mkdir(parents=True)
        (self.root / ".venv/.envkit/stamp").touch()
        (self.root / ".venv/mine").touch()

    def is_as_pretended(self) -> bool:
        """Say whether that is still there, and nothing of ours beside it."""
        return (self.root / ".venv/mine").exists() and self.leftovers() == []

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.root.glob(".venv?*"))


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def stand_in(folder: Path, *absent: str) -> Path:
    """Make an interpreter to which these modules are as absent as Debian makes them."""
    venv.create(folder, with_pip=False, symlinks=True)
    [site] = folder.glob("lib/*/site-packages")
    (site / "stand_in.pth").write_text("import stand_in\n")
    (site / "stand_in.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {absent!r}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    return folder / "bin/python"
