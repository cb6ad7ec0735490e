"""What went wrong, as TensorFlow says it. Sources: error_codes.proto, http_server.cc."""

import enum


class Code(enum.IntEnum):
    """The codes that this server has a use for."""

    OK = 0
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    DATA_LOSS = 15


_HTTP = {
    0: 200,
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    14: 503,
    16: 401,
}


class StatusError(Exception):
    """Something failed: a code of TensorFlow's, and what it says."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        named = Code(self.code).name if self.code in set(Code) else str(self.code)
        return f"{named}: {self.message}"

    @property
    def http(self) -> int:
        """The status of the HTTP answer that says so."""
        return _HTTP.get(self.code, 500)
