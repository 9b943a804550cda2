"""Random queries over the test schema, for hypothesis."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)
from hypothesis import strategies as st

from tests.graph.executor.world import core_schema

Draw = Callable[[st.SearchStrategy[Any]], Any]

ARGUMENTS = {
    "greeting": ['to: "you"', "to: $text", 'to: "x", polite: $flag'],
    "times": ["factor: 3", "factor: $number", "offset: $maybeNumber"],
    "team": ["first: 1", "first: $number"],
    "people": ["first: $number"],
    "extended": ["suffix: $text"],
    "search": ["where: $search", "where: {name: $text, age: {low: $number}, born: null}"],
    "found": ['keys: [{id: "1"}]', "keys: $keys", "keys: [{name: $text}]"],
    "echo": ["mood: $mood", "moods: [SAD, $mood]", "number: 12, ratio: $ratio", "day: $day"],
    "someone": ["key: {id: 7}", "key: $key"],
    "node": ['id: "1"', "id: 2"],
}
NEEDS_ARGUMENTS = {"greeting", "search", "found", "node"}
DIRECTIVES = ["@skip(if: $flag)", "@include(if: $flag)", "@include(if: $other)", "@skip(if: false)"]

VARIABLES = {
    "$text": 'String! = "text"',
    "$flag": "Boolean! = true",
    "$other": "Boolean!",
    "$number": "Int! = 2",
    "$maybeNumber": "Int",
    "$search": 'Search! = {name: "s", tags: []}',
    "$keys": "[Key!]! = [{id: 1}]",
    "$mood": "Mood! = HAPPY",
    "$ratio": "Float",
    "$day": "Date",
    "$key": "Key",
}

values = st.fixed_dictionaries(
    {"other": st.booleans()},
    optional={
        "text": st.sampled_from(["a", ""]),
        "flag": st.booleans(),
        "number": st.integers(0, 3),
        "maybeNumber": st.sampled_from([None, 5]),
        "search": st.sampled_from([{"name": "n"}, {"name": "n", "age": {"low": 2}, "born": None}]),
        "keys": st.sampled_from([[], [{"name": "k"}, {"id": 3}]]),
        "mood": st.sampled_from(["SAD", "HAPPY"]),
        "ratio": st.sampled_from([None, 1, 1.5]),
        "day": st.sampled_from([None, "2020-02-03"]),
        "key": st.sampled_from([None, {"id": "i"}]),
    },
)


@dataclass
class Writer:
    """Writes one random operation."""

    draw: Draw
    fragments: list[str] = field(default_factory=list)

    def operation(self) -> str:
        selections = self.selections(core_schema.query_type, depth=0)
        text = "\n".join([selections, *self.fragments])
        used = [name for name in VARIABLES if re.search(rf"\{name}\b", text)]
        declared = ", ".join(f"{name}: {VARIABLES[name]}" for name in used)
        return f"query Q({declared}) {text}" if used else text

    def selections(self, type_: Any, depth: int) -> str:
        count = self.draw(st.integers(1, 4))
        return "{ " + " ".join(self.selection(type_, depth) for _ in range(count)) + " }"

    def selection(self, type_: Any, depth: int) -> str:
        kind = self.draw(st.integers(0, 9))
        if kind == 0:
            return "__typename"
        if (kind <= 2 and depth < 4) or not hasattr(type_, "fields"):
            return self.fragment(type_, depth)
        name = self.draw(st.sampled_from(sorted(type_.fields)))
        return self.field(name, type_.fields[name], depth)

    def field(self, name: str, definition: GraphQLField, depth: int) -> str:
        named = get_named_type(definition.type)
        if depth >= 4 and not is_leaf_type(named):
            return "__typename"
        choice = self.draw(st.integers(0, 3))
        options = ARGUMENTS.get(name, [])
        key = name
        if options and (choice or name in NEEDS_ARGUMENTS):
            choice %= len(options)
            key = f"{name}{choice}: {name}({options[choice]})"
        text = f"{key} {self.directive()}"
        return text if is_leaf_type(named) else f"{text} {self.selections(named, depth + 1)}"

    def directive(self) -> str:
        return self.draw(st.sampled_from(["", "", "", "", *DIRECTIVES]))  # type: ignore[no-any-return]

    def fragment(self, type_: GraphQLNamedType, depth: int) -> str:
        condition = self.condition(type_)
        body = self.selections(condition, depth + 1)
        if self.draw(st.booleans()):
            return f"... on {condition.name} {self.directive()} {body}"
        name = f"F{len(self.fragments)}"
        self.fragments.append(f"fragment {name} on {condition.name} {body}")
        return f"...{name} {self.directive()} ...{name}"

    def condition(self, type_: Any) -> Any:
        """Another type that a value of this type may have."""
        if is_abstract_type(type_):
            options = [type_, *core_schema.get_possible_types(type_)]
        else:
            assert isinstance(type_, GraphQLObjectType)
            options = [type_, *type_.interfaces]
        return self.draw(st.sampled_from(options))


@st.composite
def queries(draw: Draw) -> str:
    return Writer(draw).operation()
