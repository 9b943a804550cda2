"""The rules for the fields of saved queries."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from db.errors import BadInput, TooLarge
from db.kit.text_rules import Optional, Required, require_storable

MAX_TEXT_LENGTH = 500_000
"""Characters of a statement that `executeQuery` accepts: `run_request.MAX_STATEMENT_CHARS`."""
MAX_PARAMETERS = 100
MAX_PARAMETERS_LENGTH = 65_536
MAX_PARAMETER_NAME_LENGTH = 63

name_rule = Required("name", max_length=200)
MAX_FOLDER_LENGTH = 500
type_rule = Optional("type", max_length=200)
search_rule = Required("search", max_length=200)

_UNPRINTABLE = {"Cc", "Zl", "Zp"}


class SavedParameter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A parameter of a saved query; the first one is `$1`. Without `default` it is required."""

    name: str
    type: str | None = None
    default: Any = msgspec.UNSET

    @property
    def has_default(self) -> bool:
        return self.default is not msgspec.UNSET


def decode_parameters(text: str) -> list[SavedParameter]:
    return msgspec.json.decode(text, type=list[SavedParameter])


def checked_name(name: str | None) -> str:
    """One line: the name is a line of an exported file."""
    return _one_line("name", name_rule.checked(name))


def checked_folder(folder: str | None, *, field: str = "folder") -> str:
    """Normalizes the path of a folder. Null and `/` mean no folder, which is stored as ''."""
    text = Optional(field, MAX_FOLDER_LENGTH).checked(folder) or ""
    parts = [part.strip() for part in text.strip("/").split("/")]
    if parts == [""]:
        return ""
    if any(part in {"", ".", ".."} for part in parts):
        raise BadInput(
            f"`{field}` has an empty part, or one that is `.` or `..`.",
            hint="Pass a path such as `reports/sales`.",
            field=field,
        )
    return _one_line(field, "/".join(parts))


def checked_text(text: str | None) -> str:
    """Checks a statement, and returns it as it is: blanks and Unicode forms may matter in it."""
    if not text or not text.strip():
        raise BadInput("`text` is empty.", hint="Pass an SQL statement.", field="text")
    if len(text) > MAX_TEXT_LENGTH:
        raise TooLarge(
            f"`text` has {len(text)} characters; the limit is {MAX_TEXT_LENGTH}.",
            hint="Split it into several saved queries.",
            field="text",
        )
    return require_storable("text", text)


def checked_parameters(parameters: Sequence[SavedParameter] | None) -> str:
    """Checks parameters, and returns them as JSON."""
    checked = [_checked_parameter(parameter) for parameter in parameters or ()]
    names = [parameter.name for parameter in checked]
    if len(names) > MAX_PARAMETERS:
        raise TooLarge(
            f"`parameters` has {len(names)} items; the limit is {MAX_PARAMETERS}.",
            hint="Combine several values into an array or JSON.",
            field="parameters",
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(
            f"`parameters` has the name `{twice[0]}` twice.",
            hint="Give each parameter a name of its own.",
            field="parameters",
        )
    text = _to_json(checked)
    if len(text) > MAX_PARAMETERS_LENGTH:
        raise TooLarge(
            f"`parameters` has {len(text)} characters as JSON; the limit is "
            f"{MAX_PARAMETERS_LENGTH}.",
            hint="Shorten the defaults.",
            field="parameters",
        )
    return text


def _checked_parameter(parameter: SavedParameter) -> SavedParameter:
    name = unicodedata.normalize("NFC", parameter.name)
    if not name.isidentifier() or len(name) > MAX_PARAMETER_NAME_LENGTH:
        raise BadInput(
            "The name of a parameter is not a word.",
            hint=f"Use up to {MAX_PARAMETER_NAME_LENGTH} letters, digits and underscores, "
            "beginning with a letter.",
            field="parameters",
        )
    try:
        kind = type_rule.checked(parameter.type)
    except BadInput as error:  # an item of a list has the name of the list
        raise BadInput(error.message, hint=error.hint, field="parameters") from None
    if kind is not None:
        _one_line("parameters", kind)
    return SavedParameter(name, kind, parameter.default)


def _to_json(parameters: Sequence[SavedParameter]) -> str:
    try:
        text = msgspec.json.encode(parameters).decode()
        if msgspec.json.decode(text, type=list[SavedParameter]) == parameters:
            return require_storable("parameters", text)
    except (UnicodeEncodeError, OverflowError, RecursionError, msgspec.DecodeError):
        pass
    raise BadInput(
        "The default of a parameter cannot be stored.",
        hint="Remove unpaired surrogates, reduce the nesting, and pass large numbers as strings.",
        field="parameters",
    )


def _one_line(field: str, text: str) -> str:
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text):
        raise BadInput(
            f"`{field}` contains a line break or a control character.",
            hint="Remove it.",
            field=field,
        )
    return text
