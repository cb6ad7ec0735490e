"""The errors that a user can cause, and the exit codes that programs can rely on."""

EXIT_DONE = 0
EXIT_DIFFERENCE = 1
EXIT_USAGE = 2
EXIT_MISSING = 3
EXIT_TOOL = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class EnvkitError(Exception):
    """What failed and where, in one line, and what to do next, in another.

    Attributes:
        message: what failed, with the file, key or line where there is one.
        hint: what to do next; empty when there is nothing better than the message.
        exit_code: the code with which the command line ends.
    """

    exit_code = EXIT_TOOL

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.hint)


class UsageError(EnvkitError):
    """The command, the configuration or a file of the project is not usable as it stands."""

    exit_code = EXIT_USAGE


class MissingError(EnvkitError):
    """Something that must be on the machine is not: an interpreter, an engine, a driver."""

    exit_code = EXIT_MISSING


class ToolError(EnvkitError):
    """A program that was run on the user's behalf failed; its last lines are in the message."""

    exit_code = EXIT_TOOL


class RefusedError(EnvkitError):
    """The system refused something: the disk is full, a right is lacking, a limit is reached."""

    exit_code = EXIT_TOOL


class IntegrityError(ToolError):
    """Something does not match the hash that the lock gives for it."""


class NoWheelError(ToolError):
    """Something that the lock names cannot be had as a wheel for an interpreter elsewhere."""


class AlteredError(IntegrityError):
    """A file of the store is not as it was when its entry was made, or has gone.

    Attributes:
        source: the file's path.
    """

    def __init__(self, source: str) -> None:
        super().__init__(f"{source}: altered since it was stored")
        self.source = source

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.source,)


class Interrupted(BaseException):
    """The user or the system asked the command to stop (SIGINT, SIGTERM, SIGHUP).

    Its text, if it has one, says what is not as it was before.
    """

    exit_code = EXIT_INTERRUPTED
