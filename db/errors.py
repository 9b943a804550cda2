"""Every error Howdah raises on purpose. What is not in this tree is a bug and answered as INTERNAL.

HowdahError
├── Unauthenticated     no valid session
├── Forbidden           a session, but not the right
├── NotFound            what was to be changed does not exist
├── BadInput            the request cannot mean anything as it stands
├── Conflict            true when it was read, no longer true
├── TooLarge            over a limit of size
├── RateLimited         too many, too fast; carries retry_after_s
├── Overloaded          no room just now; carries retry_after_s
├── Unavailable         something we need does not answer
└── TimedOut            it would have taken longer than was allowed
"""

from typing import ClassVar


class HowdahError(Exception):
    """What happened, in words, and a hint at what to do about it. Never holds a secret."""

    code: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.retry_after_s = retry_after_s


class Unauthenticated(HowdahError):
    """No valid session."""

    code = "UNAUTHENTICATED"


class Forbidden(HowdahError):
    """A session, but not the right."""

    code = "FORBIDDEN"


class NotFound(HowdahError):
    """What was to be changed does not exist."""

    code = "NOT_FOUND"


class BadInput(HowdahError):
    """The request cannot mean anything as it stands."""

    code = "BAD_USER_INPUT"


class Conflict(HowdahError):
    """True when it was read, no longer true."""

    code = "CONFLICT"


class TooLarge(HowdahError):
    """Over a limit of size."""

    code = "TOO_LARGE"


class RateLimited(HowdahError):
    """Too many, too fast."""

    code = "RATE_LIMITED"


class Overloaded(HowdahError):
    """No room just now."""

    code = "OVERLOADED"


class Unavailable(HowdahError):
    """Something we need does not answer."""

    code = "UNAVAILABLE"


class TimedOut(HowdahError):
    """It would have taken longer than was allowed."""

    code = "TIMEOUT"
