"""Where `envkit` begins: what needs no thought is answered before anything is imported."""

import gc
import os
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    _open_streams()
    try:
        return _answer(sys.argv[1:])
    except KeyboardInterrupt:
        return _interrupted()
    except RuntimeError as error:
        # What Python before 3.12 makes of an interruption while a class names its attributes.
        if isinstance(error.__cause__, KeyboardInterrupt):
            return _interrupted()
        raise


def _open_streams() -> None:
    """Open what is closed of standard input, output and error: no other file is taken for one.

    What is started has them closed all the same.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free (open(2))
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _interrupted() -> int:
    # What is done before others catch this is done in one step, or changes nothing.
    _say("Interrupted.")
    return 130


def _answer(arguments: list[str]) -> int:
    if arguments in (["install"], ["install", "--offline"]):
        from envkit.environment import quick

        answer = quick.install()
        if answer:
            _say(answer)
            return 0
        from envkit.cli.guard import guarded
        from envkit.cli.installer import install_here

        return guarded(lambda: install_here(offline=len(arguments) > 1))
    if arguments[:1] == ["run"]:
        from envkit.environment import quick

        quick.run(arguments[1:])
        from envkit.cli import running
        from envkit.cli.guard import guarded

        plain = running.plainly(arguments[1:])
        if plain:
            return guarded(plain)
    if arguments == ["build"]:
        from envkit.cli.building import build_here
        from envkit.cli.guard import guarded

        return guarded(build_here)
    from envkit.cli.main import main as run

    return run(arguments)


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        from envkit.cli.output import mute

        mute(sys.stderr)


def command() -> None:
    """Run the command line, and end the process with its exit code.

    At once: to take down what was imported would take longer than many an installation's work.
    """
    # Imports make thousands of objects, among which collections would find nothing to free.
    gc.set_threshold(50_000)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        # Whatever suppresses it would have to be imported.
        try:  # noqa: SIM105
            stream.flush()
        except OSError:
            pass  # nobody reads it
    os._exit(code)


if __name__ == "__main__":
    command()
