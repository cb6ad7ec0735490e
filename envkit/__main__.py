"""Where `envkit` begins: what needs no thought is answered before anything is imported."""

import os
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    if sys.argv[1:] in (["install"], ["install", "--offline"]):
        from envkit.environment import quick

        answer = quick.install(os.getcwd())
        if answer:
            print(answer, file=sys.stderr)
            return 0
    from envkit.cli.main import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
