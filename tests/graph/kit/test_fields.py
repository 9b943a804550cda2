from enum import StrEnum

import pytest
import strawberry

from graph.kit.fields import attribute, field, graphql_enum


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


@pytest.mark.parametrize(
    "values", [{"GOOD": "Well."}, {"GOOD": "Well.", "BAD": "Not well.", "UGLY": "No."}]
)
def test_graphql_enum_refuses_a_vocabulary_whose_values_are_not_all_described(
    values: dict[str, str],
) -> None:
    with pytest.raises(TypeError, match=r"BAD|UGLY"):
        graphql_enum("A mood.", **values)(Mood)


async def test_graphql_enum_serializes_the_plain_string_of_a_row() -> None:
    graphql_enum("A mood.", GOOD="Well.", BAD="Not well.")(Mood)

    @strawberry.type
    class Query:
        @field("Mood.", type=Mood)
        def read(self) -> str:
            return "bad"

        @field("Mood.", type=Mood)
        def echo(self, mood: Mood) -> str:
            assert mood == "good"
            return mood

        kept: Mood = attribute("A member.")

    schema = strawberry.Schema(query=Query)
    asked = await schema.execute("{ read echo(mood: GOOD) kept }", root_value=Query(kept=Mood.BAD))
    assert asked.data == {"read": "BAD", "echo": "GOOD", "kept": "BAD"}
