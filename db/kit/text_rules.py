"""Text validation: trims, normalizes (NFC), limits the length and rejects unstorable text."""

import unicodedata
from dataclasses import dataclass

from db.errors import BadInput


@dataclass(frozen=True, slots=True)
class Required:
    field: str
    max_length: int

    def checked(self, text: str | None) -> str:
        text = _storable(self.field, text or "", self.max_length)
        if not text:
            raise BadInput(
                f"`{self.field}` is empty.",
                hint=f"Pass 1 to {self.max_length} characters.",
                field=self.field,
            )
        return _short_enough(self.field, text, self.max_length)


@dataclass(frozen=True, slots=True)
class Optional:
    """Text that may be null; blank text becomes null."""

    field: str
    max_length: int

    def checked(self, text: str | None) -> str | None:
        if text is None or not (text := _storable(self.field, text, self.max_length)):
            return None
        return _short_enough(self.field, text, self.max_length)


def require_storable(field: str, text: str) -> str:
    """Returns the text as it is, or raises BadInput if PostgreSQL does not accept it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        storable = False
    else:
        storable = "\0" not in text
    if not storable:
        raise BadInput(
            f"`{field}` contains a character that cannot be stored.",
            hint="Remove U+0000 and unpaired surrogates.",
            field=field,
        )
    return text


def contains_pattern(text: str) -> str:
    """A LIKE pattern that matches text containing `text`, with its wildcards escaped."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _storable(field: str, text: str, max_length: int) -> str:
    # Checked before NFC, whose time is quadratic in a run of combining characters.
    text = _short_enough(field, text.strip(), max_length, composing=4)
    return unicodedata.normalize("NFC", require_storable(field, text))


def _short_enough(field: str, text: str, max_length: int, *, composing: int = 1) -> str:
    """Refuses a text that is too long. Up to `composing` characters may still become one."""
    if len(text) > max_length * composing:
        raise BadInput(
            f"`{field}` has {len(text)} characters; the limit is {max_length}.",
            hint="Shorten it.",
            field=field,
        )
    return text
