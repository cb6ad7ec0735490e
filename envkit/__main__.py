"""Where `envkit` begins: what needs no thought is answered before anything is imported."""

import os
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    if sys.argv[1:] == ["install"]:
        from envkit.environment import quick

        answer = quick.install(os.getcwd())
        if answer:
            print(answer, file=sys.stderr)
            return 0
        from envkit.cli.guard import guarded
        from envkit.cli.installer import install_here

        return guarded(install_here)
    from envkit.cli.main import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
