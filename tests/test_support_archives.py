"""Proofs that the good distributions are what they claim to be: pip installs them as they say."""

import importlib.metadata
import json
import stat
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import Index, good
from tests.support.client import output, pip_must


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An environment into which pip has installed something."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def site(self) -> Path:
        (site,) = self.root.glob("lib/python*/site-packages")
        return site

    def says(self, code: str) -> str:
        return output(self.python, "-c", code).strip()


@pytest.fixture(scope="module")
def newest(published: Index, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the newest version of everything, built and installed by pip."""
    installed = Installed(root=tmp_path_factory.mktemp("newest"))
    venv.create(installed.root, symlinks=True)
    pins = {one.name: f"{one.name}=={one.version}" for one in good().values()}
    options = ["--no-deps", "--no-compile"]
    pip_must(published, "--python", installed.python, "install", *options, *pins.values())
    return installed


def test_everything_good_is_installed_by_pip_with_its_files(newest: Installed) -> None:
    listed = importlib.metadata.distributions(path=[str(newest.site)])
    versions = {one.metadata["Name"]: one.version for one in listed}
    for one in {one.name: one for one in good().values()}.values():
        assert versions[one.name] == one.version
        for name in one.files:
            if name != "shared/module.py":
                content = one.files[name]
                expected = content.encode() if isinstance(content, str) else content
                assert newest.site.joinpath(name).read_bytes() == expected


def test_older_versions_and_what_does_not_compile_are_installed_too(
    published: Index, tmp_path: Path
) -> None:
    others = ["alpha==1.1", "space-one==1.0", "mixed-case-name==1.0", "crooked"]
    pip_must(published, "install", "--no-deps", "--target", tmp_path, *others)
    with pytest.raises(SyntaxError):
        compile(tmp_path.joinpath("crooked/legacy.py").read_text(), "legacy.py", "exec")
    assert tmp_path.joinpath("alpha/old.py").exists()
    assert tmp_path.joinpath("space/one/dropped.py").exists()


def test_members_of_data_go_where_their_scheme_says(newest: Installed) -> None:
    prefix = str(newest.root)
    assert output(newest.root / "bin/schemes-run").strip() == prefix
    assert output(newest.root / "bin/schemes-window").strip() == prefix
    assert output(newest.root / "bin/schemes-shell") == "shell\n"
    assert newest.root.joinpath("bin/schemes-binary").read_bytes().startswith(b"\x7fELF\0")
    assert newest.root.joinpath("share/schemes/settings.ini").read_text() == "[schemes]\n"
    assert newest.root.joinpath("etc/schemes.conf").exists()
    assert [path.name for path in newest.root.glob("include/**/schemes.h")] == ["schemes.h"]
    assert newest.says("import schemes_pure as a, schemes_plat as b; print(a.WHERE, b.WHERE)") == (
        "purelib platlib"
    )


def test_entry_points_become_commands(newest: Installed) -> None:
    for name in ("commands", "commands-nested", "commands-window"):
        command = [str(newest.root / "bin" / name), "x"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (3, "main x\n")


def test_a_path_file_runs_at_the_top_level_alone(newest: Installed) -> None:
    # Pythons differ in how often they run it at one start.
    code = "import sys, paths_found; print(sys.paths_runs > 0, hasattr(sys, 'paths_nested'))"
    assert newest.says(code) == "True False"


def test_a_namespace_is_shared_by_two_wheels(newest: Installed) -> None:
    code = "import space, space.one as a, space.two as b; print(a.HERE, b.HERE, space.__file__)"
    assert newest.says(code) == "1 2 None"


def test_sdists_are_built_with_commands_modes_and_c_code(newest: Installed) -> None:
    assert newest.says("import native; print(native.answer())") == "42"
    assert output(newest.root / "bin/sourced") == "sourced\n"
    assert output(newest.site / "sourced/run.sh") == "sourced\n"


def test_the_executable_bit_is_kept(newest: Installed) -> None:
    modes = {path.name: path.stat().st_mode for path in newest.site.glob("hammer/bin/*")}
    assert modes["strike"] & stat.S_IXUSR
    assert not modes["notes.txt"] & stat.S_IXUSR


def test_the_forest_has_500_modules_in_40_folders() -> None:
    files = good()["forest-1.0"].files
    assert len(files) == 500
    assert len({name.rpartition("/")[0] for name in files}) == 40


def test_extras_and_markers_decide_what_is_resolved(published: Index, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    pip_must(
        published, "install", "--dry-run", "--ignore-installed", "--report", report, "beta[fast]"
    )
    items = json.loads(report.read_text())["install"]
    found = {item["metadata"]["name"]: item["metadata"]["version"] for item in items}
    linux = {"penguin": "1.0"} if sys.platform == "linux" else {}
    assert found == {"beta": "1.0", "alpha": "1.1", "gamma": "1.0", "delta": "1.0", **linux}


def test_an_sdist_can_be_installed_as_editable(published: Index, tmp_path: Path) -> None:
    path = good()["sourced-1.0"].sdist(tmp_path)
    output("tar", "-xzf", path, "-C", tmp_path)
    source = tmp_path / "sourced-1.0"
    pip_must(published, "install", "--no-deps", "--target", tmp_path / "site", "--editable", source)
    (path_file,) = tmp_path.glob("site/*.pth")
    assert path_file.read_text() == f"{source / 'src'}\n"


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_archives_are_the_same_each_time(kind: str, tmp_path: Path) -> None:
    for one in (good()["schemes-1.0"], good()["accents-1.0"]):
        first = getattr(one, kind)(tmp_path / "first")
        time.sleep(0.01)
        assert getattr(one, kind)(tmp_path / "second").read_bytes() == first.read_bytes()


def test_a_distribution_with_c_code_has_no_wheel(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="build its sdist"):
        good()["native-1.0"].wheel(tmp_path)
