"""Where `envkit` begins: what needs no thought is answered before anything is imported."""

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    from envkit.cli.main import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
