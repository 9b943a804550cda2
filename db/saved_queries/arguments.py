"""The values with which a saved query is executed: by position or by name, else the defaults."""

from collections.abc import Sequence
from typing import Any

from db.errors import BadInput
from db.saved_queries.rows import SavedCall
from db.saved_queries.rules import SavedParameter


def bind_arguments(declared: Sequence[SavedParameter], call: SavedCall) -> list[Any]:
    """The values of `$1`, `$2`, ... A saved query without parameters takes any, by position.

    Raises:
        BadInput: A value is missing, has no parameter, or is given in both ways.
    """
    positional, named = call.parameters, call.named_parameters
    if positional is not None and named is not None:
        raise BadInput(
            "Both `parameters` and `namedParameters` are set.",
            hint="Pass the values either by position or by name.",
            field="namedParameters",
        )
    if named is not None:
        _require_known(declared, named)
        given = named
    else:
        if not declared:
            return list(positional or ())
        given = _by_name(declared, positional or ())
    missing = [
        parameter.name
        for parameter in declared
        if parameter.name not in given and not parameter.has_default
    ]
    if missing:
        raise BadInput(
            f"The saved query has no value for {_listed(missing)}.",
            hint="Pass it in `namedParameters`, or save the query with a default for it.",
            field="namedParameters",
        )
    return [given.get(parameter.name, parameter.default) for parameter in declared]


def _by_name(declared: Sequence[SavedParameter], values: Sequence[Any]) -> dict[str, Any]:
    if len(values) > len(declared):
        raise BadInput(
            f"`parameters` has {len(values)} values, and the saved query {len(declared)} "
            "parameters.",
            hint=f"Pass values for {_listed([parameter.name for parameter in declared])}.",
            field="parameters",
        )
    return {parameter.name: value for parameter, value in zip(declared, values, strict=False)}


def _require_known(declared: Sequence[SavedParameter], named: dict[str, Any]) -> None:
    names = [parameter.name for parameter in declared]
    unknown = sorted(named.keys() - set(names))
    if not unknown:
        return
    raise BadInput(
        f"The saved query has no parameter {_listed(unknown)}.",
        hint=f"It has {_listed(names)}." if names else "Save it with `parameters` first.",
        field="namedParameters",
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name[:63]}`" for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
