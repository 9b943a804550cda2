import logging

import pytest
from graphql import GraphQLError, GraphQLSyntaxError, Source

from db.errors import BadInput, HowdahError, Overloaded, Unavailable
from graph.errors import MAX_MESSAGE_LENGTH, ErrorCode, present, present_all
from graph.schema import schema
from tests.fixtures.clients import Client


def test_deliberate_error_has_code_and_hint() -> None:
    cause = BadInput("The name is empty.", hint="Give one.", field="name")
    error = GraphQLError(cause.message, path=["box", 0, "name"], original_error=cause)
    assert present(error, request_id="r1") == {
        "message": "The name is empty.",
        "path": ["box", 0, "name"],
        "extensions": {
            "code": "BAD_USER_INPUT",
            "hint": "Give one.",
            "field": "name",
            "requestId": "r1",
        },
    }


def test_cause_is_found_in_nested_errors() -> None:
    cause = Overloaded("No room.", hint="Later.", retry_after_s=1.5)
    inner = GraphQLError("No room.", original_error=cause)
    shown = present(GraphQLError("No room.", path=["a"], original_error=inner), request_id="r1")
    assert shown["extensions"]["code"] == "OVERLOADED"
    assert shown["extensions"]["retryAfter"] == 1.5


def test_error_of_a_users_database_has_what_postgresql_reported() -> None:
    cause = Unavailable("It refused.", hint="Grant it.", postgres={"sqlstate": "42501"})
    shown = present(GraphQLError("It refused.", path=["a"], original_error=cause), request_id="r1")
    assert shown["extensions"]["postgres"] == {"sqlstate": "42501"}


def test_graphql_error_about_request_is_bad_user_input() -> None:
    syntax = present(GraphQLSyntaxError(Source("{"), 1, "Expected Name."), request_id="r1")
    assert syntax["extensions"]["code"] == "BAD_USER_INPUT"
    assert "line and column" in syntax["extensions"]["hint"]
    assert syntax["locations"] == [{"line": 1, "column": 2}]
    refused = GraphQLError("Variable '$id' is no id.", original_error=ValueError("no id"))
    assert present(refused, request_id="r1")["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("end", ["", "]", ".", "}.", "}. Also wrong"])
def test_message_that_quotes_much_is_shortened(end: str) -> None:
    """With a regular expression for the quoted object, a document of 100,000 characters took 20 s,
    and this message takes hours."""
    quoted = GraphQLError(f'No integer: "{" Found: {" * 200_000}{end}')
    message = present(quoted, request_id="r1")["message"]
    assert message.startswith("No integer: ")
    assert len(message) <= MAX_MESSAGE_LENGTH + 2
    assert ("Found" in message) is ("}." not in end)
    assert message.endswith("Also wrong") is ("wrong" in end)


async def test_invalid_input_object_is_not_quoted_because_it_may_hold_a_password() -> None:
    document = "mutation($i: SignInInput!) { signIn(input: $i) { user { id } } }"
    for variables in (
        {"password": "hunter2!"},
        {"email": "a", "password": "hunter2!", "b": [1]},
        {"email": "a", "password": "hunter2!", "emails": "b"},
    ):
        result = await schema.execute(document, variable_values={"i": variables})
        assert result.errors
        [shown] = present_all(result.errors, request_id="r1")
        assert "hunter2!" not in shown["message"]
        assert "SignInInput" in shown["message"]


async def test_invalid_variable_has_the_field_that_a_form_can_mark(ada: Client) -> None:
    save = "saveConnection(input: $input) { connection { id } }"
    document = f"mutation($input: SaveConnectionInput!) {{ {save} }}"
    tunnel = {"host": "a", "port": "22", "username": "b"}
    for given, field in (({"port": "5432"}, "port"), ({"sshTunnel": tunnel}, "sshTunnel.port")):
        answer = await ada.send(document, input=given)
        assert answer.code == "BAD_USER_INPUT"
        assert field in [error["extensions"].get("field") for error in answer.errors]


async def test_error_message_is_truncated(ada: Client) -> None:
    query = "query($first: Int!) { tasks(first: $first) { totalCount } }"
    answer = await ada.send(query, first="9" * 5_000)
    assert answer.code == "BAD_USER_INPUT"
    assert len(answer.message) < 1_100


async def test_null_for_a_non_null_variable_is_called_null() -> None:
    document = "mutation($i: DeleteTaskInput!) { deleteTask(input: $i) { deletedTaskId } }"
    result = await schema.execute(document, variable_values={"i": {"id": None}})
    assert result.errors
    [shown] = present_all(result.errors, request_id="r1")
    assert shown["message"].endswith("not to be null.")


def test_unexpected_error_is_masked_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    surprises = [
        GraphQLError("hunter2", path=["a", index], original_error=RuntimeError("hunter2"))
        for index in range(1_000)
    ]
    with caplog.at_level(logging.ERROR):
        shown = present_all(surprises, request_id="r1")
    assert "hunter2" not in str(shown)
    assert shown[0]["message"] == "An internal error occurred."
    assert shown[0]["extensions"]["code"] == HowdahError.code == "INTERNAL"
    [record] = caplog.records
    assert "r1" in record.getMessage()
    assert "1000" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "hunter2"


def test_client_error_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        present_all([BadInput("No.", hint="Yes."), GraphQLError("Bad.")], request_id="r1")
    assert not caplog.records


def codes_of(kind: type[HowdahError]) -> set[str]:
    """The codes of an error and of all kinds of it, in whatever module they are declared."""
    return {kind.code}.union(*map(codes_of, kind.__subclasses__()))


def test_enum_of_codes_has_each_code_that_an_error_can_have() -> None:
    assert codes_of(HowdahError) == {code.value for code in ErrorCode}
    assert schema.as_str().count("  code: ErrorCode") == 2  # ConnectionProblem and RunError


def test_code_that_is_not_in_the_enum_is_caught() -> None:
    class _Unknown(HowdahError):
        code = "UNKNOWN"

    try:
        assert "UNKNOWN" in codes_of(HowdahError)
    finally:
        _Unknown.code = HowdahError.code  # classes live until they are collected
