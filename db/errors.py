"""The errors that Howdah raises deliberately. Any other exception is a bug, reported as INTERNAL.

HowdahError
├── Unauthenticated     no valid session
├── Forbidden           the session lacks the permission
├── NotFound            the object to change does not exist
├── BadInput            the input is invalid
├── Conflict            the state has changed since it was read
├── TooLarge            a size limit is exceeded
├── RateLimited         too many requests; has retry_after_s
├── Overloaded          no capacity at the moment; has retry_after_s
├── Unavailable         a dependency does not respond
└── TimedOut            a deadline was exceeded
"""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar


class HowdahError(Exception):
    """An error with a message for the user and a hint to correct it. Contains no secrets."""

    code: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        field: str | None = None,
        retry_after_s: float | None = None,
        postgres: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.retry_after_s = retry_after_s
        self.postgres = postgres
        """What a user's database reported: `sqlstate`, `severity`, `detail` and `hint`."""


class Unauthenticated(HowdahError):
    code = "UNAUTHENTICATED"


class Forbidden(HowdahError):
    code = "FORBIDDEN"


class NotFound(HowdahError):
    code = "NOT_FOUND"


class BadInput(HowdahError):
    code = "BAD_USER_INPUT"


class Conflict(HowdahError):
    code = "CONFLICT"


class TooLarge(HowdahError):
    code = "TOO_LARGE"


class RateLimited(HowdahError):
    code = "RATE_LIMITED"


class Overloaded(HowdahError):
    """`cause` names what had no capacity, for metrics: there are few, and none names a user.

    It is None if the work is repeated elsewhere, so that no caller sees the error.
    """

    code = "OVERLOADED"
    causes: ClassVar[Counter[str]] = Counter()
    """How often each occurred in this process."""

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        field: str | None = None,
        retry_after_s: float | None = None,
        cause: str | None = "other",
    ) -> None:
        super().__init__(message, hint=hint, field=field, retry_after_s=retry_after_s)
        self.cause = cause
        if cause is not None:
            self.causes[cause] += 1


class Unavailable(HowdahError):
    code = "UNAVAILABLE"


class TimedOut(HowdahError):
    code = "TIMEOUT"
