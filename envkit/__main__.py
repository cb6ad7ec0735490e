"""Where `envkit` begins: what needs no thought is answered before anything is imported."""

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        return _answer(sys.argv[1:])
    except KeyboardInterrupt:
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
    from envkit.cli.main import main as run

    return run(arguments)


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        from envkit.cli.output import mute

        mute(sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
