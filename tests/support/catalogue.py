"""The standing set of distributions of the suite, each with what it is for."""

import functools
import stat
import types
from collections.abc import Iterable, Mapping

from packaging.utils import canonicalize_name

from .backend import Member, regular
from .distributions import Distribution, Tampering
from .tampering import Alteration, overlap, relisted, rewritten, stating

_NATIVE = """\
#include <Python.h>

static PyObject *answer(PyObject *self, PyObject *unused) { return PyLong_FromLong(42); }

static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, methods};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
"""

_ZEROS = b"\0" * (1 << 20)


@functools.cache
def good() -> Mapping[str, Distribution]:
    """Return all that a correct installer installs, by `name-version` with the name normalised."""
    return _keyed(
        [*_plain(), *_dependent(), *_namespaces(), *_placed(), *_sources(), *_awkward(), _forest()]
    )


@functools.cache
def hostile() -> Mapping[str, Distribution]:
    """Return wheels with one fault each, by the fault's name; all are called `hostile`."""
    return types.MappingProxyType(
        {
            # A RECORD row whose hash is not that of `hostile.py`.
            "wrong-hash": _bad(Tampering(wrong_hash=frozenset({"hostile.py"}))),
            # `hostile.py` is in the wheel and not in its RECORD.
            "unrecorded": _bad(Tampering(unrecorded=frozenset({"hostile.py"}))),
            # Members that would be written beside the environment, or anywhere.
            "outside": _bad(_with(regular("../evil.py", "EVIL = True\n"))),
            "absolute": _bad(_with(regular("/nonexistent/evil.py", "EVIL = True\n"))),
            # A member that unpacks as a link to somewhere else.
            "symlink": _bad(
                _with(Member(name="link.py", data=b"/etc/passwd", mode=stat.S_IFLNK | 0o777))
            ),
            # Two members of one name: which one is installed depends on who reads the wheel.
            "duplicate": _bad(
                _with(regular("twice.py", "WHICH = 1\n"), regular("twice.py", "WHICH = 2\n"))
            ),
            # A download that ended early, and a page that says sorry in the place of a wheel.
            "truncated": _bad(Tampering(alter=lambda content: content[: len(content) // 2])),
            "not-a-zip": _bad(Tampering(alter=lambda _: b"<html>Sorry.</html>\n")),
            # The file says it is `other`, its `.dist-info` that it is `hostile`.
            "misnamed": _bad(Tampering(file_stem="other-1.0")),
            # A name that breaks a line of RECORD in two and colours the terminal.
            "control-characters": _bad(_with(regular("evil\n\x1b[31m.py", "EVIL = True\n"))),
            # A name that is said to be UTF-8, and is not.
            "not-utf-8": _bad(
                _with(
                    regular("\u00e4.py", "EVIL = True\n"),
                    alter=lambda content: content.replace("\u00e4".encode(), b"\xff\xfe"),
                )
            ),
            # Bombs: a member that unpacks to more than the directory says, members that share
            # their bytes, and one that unpacks to more than any disk holds.
            "larger": _bad(
                _with(regular("bomb.bin", _ZEROS), alter=stating("bomb.bin", file_size=1))
            ),
            "overlapping": _bad(_with(regular("bomb.bin", _ZEROS), alter=relisted(overlap))),
            "no-room": _bad(
                _with(regular("bomb.bin", _ZEROS), alter=stating("bomb.bin", file_size=1 << 60))
            ),
            # Metadata that would steer a terminal, if its version were shown.
            "version": _bad(
                _with(
                    alter=rewritten(
                        {"METADATA": lambda text: text.replace(b"ion: 1.0", b"ion: 1.0\x1b[31m")}
                    )
                )
            ),
            # A command that every other one would take for an option.
            "option": Distribution(name="hostile", console_scripts={"--help": "hostile:main"}),
        }
    )


def _bad(tampering: Tampering) -> Distribution:
    return Distribution(
        name="hostile", files={"hostile.py": "HARMLESS = True\n"}, tampering=tampering
    )


def _with(*members: Member, alter: Alteration = bytes) -> Tampering:
    return Tampering(members=members, alter=alter)


def _keyed(distributions: Iterable[Distribution]) -> Mapping[str, Distribution]:
    return types.MappingProxyType(
        {f"{canonicalize_name(one.name)}-{one.version}": one for one in distributions}
    )


def _plain() -> list[Distribution]:
    # Three versions of one package: 1.1 adds a module, 2.0 changes one and drops another.
    return [
        Distribution(
            name="alpha",
            version="1.0",
            files={"alpha/__init__.py": '__version__ = "1.0"\n', "alpha/old.py": "OLD = True\n"},
        ),
        Distribution(
            name="alpha",
            version="1.1",
            files={
                "alpha/__init__.py": '__version__ = "1.1"\n',
                "alpha/old.py": "OLD = True\n",
                "alpha/new.py": "NEW = 1\n",
            },
        ),
        Distribution(
            name="alpha",
            version="2.0",
            files={"alpha/__init__.py": '__version__ = "2.0"\n', "alpha/new.py": "NEW = 2\n"},
        ),
    ]


def _dependent() -> list[Distribution]:
    return [
        # The plainest dependency there is.
        Distribution(name="above", files={"above.py": "import alpha\n"}, requires=("alpha>=1.0",)),
        # Keeps alpha below 2, asks for more with `beta[fast]`, and on Linux. `ancient` is nowhere
        # to be found: its marker is never true, and whoever asks for it is wrong.
        Distribution(
            name="beta",
            files={"beta/__init__.py": "import alpha\n"},
            requires=(
                "alpha<2",
                'ancient>=1 ; python_version < "3"',
                'penguin ; sys_platform == "linux"',
                'gamma[deep]>=1.0 ; extra == "fast"',
            ),
            extras=("fast",),
            requires_python=">=3.8",
        ),
        # The next links of the chain: an extra asked for by an extra.
        Distribution(
            name="gamma",
            files={"gamma.py": "DEPTH = 1\n"},
            requires=('delta==1.0 ; extra == "deep"',),
            extras=("deep",),
        ),
        Distribution(name="delta", files={"delta.py": "DEPTH = 2\n"}),
        Distribution(name="penguin", files={"penguin.py": "SWIMS = True\n"}),
    ]


def _namespaces() -> list[Distribution]:
    # Two wheels share the namespace package `space` (PEP 420), which no file of theirs declares.
    # The second version of the first drops a module and a whole folder.
    one = {"space/one/__init__.py": "HERE = 1\n", "space/single.py": "HERE = 0\n"}
    return [
        Distribution(
            name="space-one",
            version="1.0",
            files={
                **one,
                "space/one/dropped.py": "HERE = 3\n",
                "space/gone/__init__.py": "HERE = 4\n",
            },
        ),
        Distribution(name="space-one", version="2.0", files=one),
        Distribution(name="space-two", files={"space/two/__init__.py": "HERE = 2\n"}),
    ]


def _placed() -> list[Distribution]:
    return [
        # Every folder of `.data`, with the scripts whose first line an installer rewrites
        # (`#!python`, `#!pythonw`), and those whose first line it must leave.
        Distribution(
            name="schemes",
            files={"schemes/__init__.py": ""},
            scripts={
                "schemes-run": "#!python\nimport sys, schemes\nprint(sys.prefix)\n",
                "schemes-window": "#!pythonw\nimport sys, schemes\nprint(sys.prefix)\n",
                "schemes-shell": "#!/bin/sh\necho shell\n",
                "schemes-binary": b"\x7fELF\x00not really\x00",
            },
            data={"share/schemes/settings.ini": "[schemes]\n", "etc/schemes.conf": "on\n"},
            headers={"schemes.h": "#define SCHEMES 1\n"},
            purelib={"schemes_pure.py": "WHERE = 'purelib'\n"},
            platlib={"schemes_plat.py": "WHERE = 'platlib'\n"},
        ),
        # A wheel whose root belongs in platlib, tagged for two Pythons at once.
        Distribution(
            name="rooted",
            files={"rooted.py": "WHERE = 'platlib'\n"},
            tag="py2.py3-none-any",
            root_is_purelib=False,
        ),
        # Entry points of both kinds; one of them is an attribute of an attribute.
        Distribution(
            name="commands",
            files={
                "commands/__init__.py": (
                    "import sys\n\n\n"
                    "def main():\n    print('main', *sys.argv[1:])\n    return 3\n\n\n"
                    "class Group:\n    run = staticmethod(main)\n"
                )
            },
            console_scripts={
                "commands": "commands:main",
                "commands-nested": "commands:Group.run",
            },
            gui_scripts={"commands-window": "commands:main"},
        ),
        # A path file with a line of code and a line that is a path, and one inside the package,
        # where the interpreter never looks for them.
        Distribution(
            name="paths",
            files={
                "paths.pth": (
                    "import sys; sys.paths_runs = getattr(sys, 'paths_runs', 0) + 1\npaths_more\n"
                ),
                "paths_more/paths_found.py": "FOUND = True\n",
                "paths/__init__.py": "",
                "paths/nested.pth": "import sys; sys.paths_nested = True\n",
            },
        ),
    ]


def _sources() -> list[Distribution]:
    return [
        # C code, and no wheel.
        Distribution(
            name="native",
            files={"native/__init__.py": "from native._native import answer\n"},
            extensions={"native/_native": _NATIVE},
            sdist_only=True,
        ),
        # Python alone, and no wheel; it has a dependency, a command and a file that is run.
        Distribution(
            name="sourced",
            files={
                "sourced/__init__.py": "def main():\n    print('sourced')\n",
                "sourced/run.sh": "#!/bin/sh\necho sourced\n",
            },
            executable=frozenset({"sourced/run.sh"}),
            requires=("alpha",),
            console_scripts={"sourced": "sourced:main"},
            sdist_only=True,
        ),
    ]


def _awkward() -> list[Distribution]:
    same = "SAME = True\n"
    return [
        # Two wheels that own one path, with different contents.
        Distribution(
            name="clash-one",
            files={"clash_one.py": "", "shared/module.py": "OWNER = 'clash-one'\n"},
        ),
        Distribution(
            name="clash-two",
            files={"clash_two.py": "", "shared/module.py": "OWNER = 'clash-two, the second'\n"},
        ),
        # Names of modules, folders and files that are not ASCII.
        Distribution(
            name="accents",
            files={
                "accents/__init__.py": "",
                "accents/naïve.py": "MOT = 'naïve'\n",
                "accents/données/日本語.txt": "日本語\n",
            },
        ),
        # A name to normalise. Its files spell it as PEP 625 wants in 1.0, and as older tools
        # wrote it in 1.1.
        Distribution(
            name="Mixed.Case_Name", version="1.0", files={"mixed_case.py": "VERSION = '1.0'\n"}
        ),
        Distribution(
            name="Mixed.Case_Name",
            version="1.1",
            files={"mixed_case.py": "VERSION = '1.1'\n"},
            spelling="Mixed.Case_Name",
        ),
        # A module that no Python 3 compiles, and that nobody imports.
        Distribution(
            name="crooked",
            files={"crooked/__init__.py": "", "crooked/legacy.py": "print 'Python 2'\n"},
        ),
        # A file that administrators are known to edit in place.
        Distribution(
            name="certs",
            files={"certs/__init__.py": "", "certs/cacert.pem": "# no certificates\n"},
        ),
        # Empty files and identical files, within a folder and across folders.
        Distribution(
            name="twins",
            files={
                "twins/__init__.py": "",
                "twins/py.typed": "",
                "twins/one.py": same,
                "twins/two.py": same,
                "twins/inner/__init__.py": "",
                "twins/inner/one.py": same,
            },
        ),
        # An executable beside a file that is none.
        Distribution(
            name="hammer",
            files={
                "hammer/__init__.py": "",
                "hammer/bin/strike": "#!/bin/sh\necho struck\n",
                "hammer/bin/notes.txt": "Mind the thumb.\n",
            },
            executable=frozenset({"hammer/bin/strike"}),
        ),
    ]


def _forest() -> Distribution:
    # 500 modules in 40 folders, `tests` among them: enough for order and time to matter.
    folders = ["forest", "forest/tests", *(f"forest/part{number:02}" for number in range(38))]
    files = {f"{folder}/__init__.py": "" for folder in folders}
    for number in range(500 - len(folders)):
        folder = folders[number % len(folders)]
        files[f"{folder}/leaf{number:03}.py"] = f"NUMBER = {number}\n"
    return Distribution(name="forest", files=files)
