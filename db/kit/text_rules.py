"""Rules for what people type: trimmed, in one spelling, within a length, storable."""

import unicodedata
from dataclasses import dataclass

from db.errors import BadInput


@dataclass(frozen=True, slots=True)
class Required:
    """A text that must be there."""

    field: str
    max_length: int

    def checked(self, text: str | None) -> str:
        text = _storable(self.field, text or "", self.max_length)
        if not text:
            raise BadInput(
                f"`{self.field}` is empty.",
                hint=f"Write 1 to {self.max_length} characters.",
                field=self.field,
            )
        return _short_enough(self.field, text, self.max_length)


@dataclass(frozen=True, slots=True)
class Optional:
    """A text that may be absent; nothing but blanks is none."""

    field: str
    max_length: int

    def checked(self, text: str | None) -> str | None:
        if text is None or not (text := _storable(self.field, text, self.max_length)):
            return None
        return _short_enough(self.field, text, self.max_length)


def contains_pattern(text: str) -> str:
    """The LIKE pattern of what contains `text`, its own wildcards taken literally."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _storable(field: str, text: str, max_length: int) -> str:
    # first, because the time of NFC grows with the square of a run of combining characters
    text = _short_enough(field, text.strip(), max_length, composing=4)
    try:
        text.encode()
    except UnicodeEncodeError:
        storable = False
    else:
        storable = "\0" not in text
    if not storable:
        raise BadInput(
            f"`{field}` holds a character that cannot be stored.",
            hint="Leave out U+0000 and halves of surrogate pairs.",
            field=field,
        )
    return unicodedata.normalize("NFC", text)


def _short_enough(field: str, text: str, max_length: int, *, composing: int = 1) -> str:
    """`composing` characters may still become one."""
    if len(text) > max_length * composing:
        raise BadInput(
            f"`{field}` has {len(text)} characters; {max_length} is the most.",
            hint="Shorten it.",
            field=field,
        )
    return text
