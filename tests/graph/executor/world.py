"""A schema with every feature, on rows that can fail."""
# ruff: noqa: S311 - dice, not secrets
# Rows stand for objects, as in Howdah itself, and they may hold anything:
# mypy: disable-error-code="no-any-return, untyped-decorator"

import asyncio
import datetime as dt
import decimal
import random
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, NewType

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig

from tests.graph.executor.rows import Mood, Row, ask

BigInt = NewType("BigInt", int)


class MayLook(BasePermission):
    message = "You may not look."

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return bool(random.Random(f"{source.seed}.may").random() >= source.faults)


class MayLookLater(BasePermission):
    message = "You may not look yet."

    async def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        await asyncio.sleep(0)
        return bool(random.Random(f"{source.seed}.later").random() >= source.faults)


class Shout(FieldExtension):
    def resolve(
        self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any
    ) -> Any:
        return str(next_(source, info, **kwargs)).upper()


@strawberry.input
class Range:
    low: int = 0
    high: int | None = None
    moods: list[Mood] = strawberry.field(default_factory=lambda: [Mood.HAPPY])


@strawberry.input
class Search:
    name: str
    age: Range | None = None
    tags: list[str] | None = strawberry.UNSET
    born: strawberry.Maybe[dt.date | None]


@strawberry.input(one_of=True)
class Key:
    id: strawberry.Maybe[strawberry.ID]
    name: strawberry.Maybe[str]


@strawberry.interface
class Node:
    id: strawberry.ID

    @strawberry.field
    def kind(root: strawberry.Parent[Row]) -> str:
        return root.kind


@strawberry.interface
class Animal(Node):
    name: str

    @classmethod
    def resolve_type(cls, value: Any, _info: object, _type: object) -> str:
        if isinstance(value, Row):
            return {"Person": "Nobody"}.get(value.kind, value.kind)
        raise TypeError("no animal")


@strawberry.type
class Home:
    street: str
    nickname: str | None

    @strawberry.field
    async def owner(root: strawberry.Parent[Row]) -> "Person":
        return await ask(root, "boss")


@strawberry.type
class Person(Node):
    name: str
    nickname: str | None
    age: int
    height: float
    active: bool
    mood: Mood
    feeling: Mood | None = strawberry.field(name="feeling")
    born: dt.date | None
    balance: decimal.Decimal
    large: BigInt
    tags: list[str]
    scores: list[int | None] | None
    matrix: list[list[int] | None]
    boss: "Person"
    best: "Person | None"
    friends: "list[Person]"
    known: "list[Person | None] | None"
    pets: "list[Pet]"
    nodes: list[Node | None] | None
    home: Home
    missing: str | None

    @classmethod
    def is_type_of(cls, value: Any, _info: object) -> bool:
        return isinstance(value, Row) and not (value.faults and "friend1" in value.seed)

    @strawberry.field
    def label(root: strawberry.Parent[Row]) -> str:
        return root.label

    @strawberry.field
    def nobody() -> str | None:
        return None

    @strawberry.field
    def method(self) -> str:
        return self.name

    @strawberry.field
    def where(root: strawberry.Parent[Row], info: strawberry.Info) -> str:
        seen = (info.path.key, info.path.typename, info.field_name, info.selected_fields)
        return f"{seen} {info.context} {info.variable_values} {info.root_value}"

    @strawberry.field
    def times(root: Row, factor: int = 2, offset: int | None = None) -> int:
        return len(root.seed) * factor + (offset or 0)

    @strawberry.field
    async def greeting(self, info: strawberry.Info, to: str, polite: bool = True) -> str:  # noqa: FBT001, FBT002 - an argument of the field
        await asyncio.sleep(0)
        return f"{info.field_name} {to} {polite} {info.variable_values}"

    @strawberry.field
    async def partner(root: strawberry.Parent[Row]) -> "Person | None":
        return await ask(root, "partner")

    @strawberry.field
    async def team(root: strawberry.Parent[Row], first: int = 2) -> "list[Person]":
        members = await ask(root, "team")
        return members[:first] if isinstance(members, list) else members

    @strawberry.field
    async def stream(root: strawberry.Parent[Row]) -> "list[Person]":
        members = await ask(root, "team")

        async def each() -> AsyncIterator[Any]:
            for member in members:
                yield member

        return each()  # type: ignore[return-value]  # graphql-core takes async iterables too

    @strawberry.field(permission_classes=[MayLook])
    def secret(root: strawberry.Parent[Row]) -> str:
        return root.secret

    @strawberry.field(permission_classes=[MayLook, MayLookLater])
    async def deep_secret(root: strawberry.Parent[Row]) -> str | None:
        return await ask(root, "secret")

    @strawberry.field(extensions=[Shout()])
    def extended(root: strawberry.Parent[Row], suffix: str = "!") -> str:
        return f"{root.extended}{suffix}"

    @strawberry.field
    def search(root: strawberry.Parent[Row], where: Search) -> str:
        found = repr(where)
        where.name = "changed"  # must not be seen by another call
        return found

    @strawberry.field
    async def found(root: strawberry.Parent[Row], keys: list[Key]) -> "list[Node]":
        return await ask(root, "found")

    @strawberry.field
    def echo(
        root: strawberry.Parent[Row],
        mood: Mood = Mood.SAD,
        moods: list[Mood] | None = None,
        day: dt.date | None = None,
        number: BigInt | None = None,
        ratio: float | None = strawberry.UNSET,
        renamed: Annotated[str | None, strawberry.argument(name="otherName")] = "default",
    ) -> str:
        return f"{mood} {moods} {day} {number!r} {ratio} {renamed}"


@strawberry.type
class Cat(Animal):
    name: str
    lives: int
    mother: "Cat | None"
    owner: Person = strawberry.field(name="keeper")

    @classmethod
    def is_type_of(cls, value: Any, _info: object) -> bool:
        return isinstance(value, Row) and value.kind == "Cat"


@strawberry.type
class Dog(Animal):
    name: str
    loud: bool
    mother: "Dog | None"
    friends: list[Person]

    @classmethod
    def is_type_of(cls, value: Any, _info: object) -> bool:
        return isinstance(value, Row) and value.kind == "Dog"


Pet = Annotated[Cat | Dog, strawberry.union("Pet")]


@strawberry.type
class Query:
    @strawberry.field
    def person(root: strawberry.Parent[Row]) -> Person:
        return root.boss

    @strawberry.field
    async def someone(root: strawberry.Parent[Row], key: Key | None = None) -> Person | None:
        return await ask(root, "boss")

    @strawberry.field
    async def people(root: strawberry.Parent[Row], first: int = 3) -> list[Person]:
        return await ask(root, "friends")

    @strawberry.field
    async def node(root: strawberry.Parent[Row], id: strawberry.ID) -> Node | None:
        return await ask(root, "boss")

    @strawberry.field
    def animals(root: strawberry.Parent[Row]) -> list[Animal | None]:
        return root.pets

    @strawberry.field
    async def pets(root: strawberry.Parent[Row]) -> list[Pet] | None:
        return await ask(root, "pets")

    home: Home
    nickname: str | None


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def add(root: strawberry.Parent[Row], info: strawberry.Info, by: int = 1) -> int:
        before = info.context["count"]
        await asyncio.sleep(0)
        info.context["count"] = before + by
        return info.context["count"]

    @strawberry.mutation
    def double(root: strawberry.Parent[Row], info: strawberry.Info) -> int | None:
        info.context["count"] *= 2
        return info.context["count"]

    @strawberry.mutation
    async def refuse(root: strawberry.Parent[Row], info: strawberry.Info) -> int:
        raise ValueError(f"refused at {info.context['count']}")

    @strawberry.mutation
    async def stumble(root: strawberry.Parent[Row]) -> Home | None:
        return await ask(root, "home")


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, info: strawberry.Info, to: int = 3) -> AsyncIterator[int | None]:
        for number in range(to):
            yield number if number != 1 else None

    @strawberry.subscription
    async def arrivals(root: Row, faults: float = 0.0) -> AsyncIterator[Person]:
        for number in range(4):
            yield Row(f"arrival{number}", faults=faults)  # type: ignore[misc]  # see the top

    @strawberry.subscription
    async def breaks(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("broke")

    @strawberry.subscription
    def unwilling(self) -> AsyncIterator[int]:
        raise ValueError("unwilling")

    @strawberry.subscription(permission_classes=[MayLookLater])
    async def guarded(self) -> AsyncIterator[int]:
        yield 1


schema = strawberry.Schema(
    Query,
    Mutation,
    Subscription,
    types=[Cat, Dog],
    config=StrawberryConfig(
        scalar_map={
            BigInt: strawberry.scalar(name="BigInt", serialize=str, parse_value=int),
        }
    ),
)
core_schema = schema._schema
