"""Where `envkit` begins: what needs no thought is answered before anything is imported."""

import gc
import os
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    arguments = sys.argv[1:]
    if arguments in (["install"], ["install", "--offline"]):
        from envkit.environment import quick

        answer = quick.install(os.getcwd())
        if answer:
            print(answer, file=sys.stderr)
            return 0
        from envkit.cli.guard import guarded
        from envkit.cli.installer import install_here

        return guarded(lambda: install_here(offline=len(arguments) > 1))
    from envkit.cli.main import main as run

    return run(arguments)


def command() -> None:
    """Run the command line, and end the process with its exit code.

    At once: to take down what was imported would take longer than many an installation's work.
    """
    # Imports make thousands of objects, among which collections would find nothing to free.
    gc.set_threshold(50_000)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream:
                stream.flush()
        except OSError:
            pass  # nobody reads it
    os._exit(code)


if __name__ == "__main__":
    command()
