"""Run as a script by the interpreter that byte-code is for, any CPython from 3.7 on.

Each line of standard input names a source, the file to write and the name that the code is
compiled under, parted by tabs. What does not compile is passed over, as pip does: many
distributions ship templates or code for other versions.
"""

import py_compile
import sys
import warnings


def main() -> None:
    """Compile what standard input names."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        source, target, name = line.rstrip("\n").split("\t")
        try:
            py_compile.compile(
                source,
                cfile=target,
                dfile=name,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except (py_compile.PyCompileError, SyntaxError, ValueError, RecursionError):
            continue


if __name__ == "__main__":
    main()
