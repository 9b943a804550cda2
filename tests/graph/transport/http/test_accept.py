import pytest

from graph.transport.http.accept import EVENT_STREAM, GRAPHQL_JSON, JSON, MULTIPART, accept

URQL = (
    "application/graphql-response+json, application/graphql+json, application/json,"
    " text/event-stream, multipart/mixed"
)
APOLLO = 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/json'


@pytest.mark.parametrize(
    ("header", "answer", "stream"),
    [
        ("", JSON, EVENT_STREAM),
        ("*/*", JSON, EVENT_STREAM),
        ("application/*", JSON, None),
        ("application/json", JSON, None),
        ("application/graphql-response+json", GRAPHQL_JSON, None),
        ("application/graphql-response+json, application/json;q=0.9", GRAPHQL_JSON, None),
        ("application/json;q=0.1, application/graphql-response+json; q=0.5", GRAPHQL_JSON, None),
        ("application/json; charset=utf-8", JSON, None),
        ("APPLICATION/JSON", JSON, None),
        ("application/json;q=0, */*", GRAPHQL_JSON, EVENT_STREAM),
        (URQL, GRAPHQL_JSON, EVENT_STREAM),
        (APOLLO, JSON, MULTIPART),
        ("text/event-stream", EVENT_STREAM, EVENT_STREAM),
        ("text/event-stream, application/json;q=0.9", EVENT_STREAM, EVENT_STREAM),
        ("text/event-stream;q=0.9, application/json", JSON, EVENT_STREAM),
        ("multipart/mixed, text/event-stream;q=0.5", EVENT_STREAM, MULTIPART),
        ("text/html", None, None),
        ("application/json;q=much", None, None),
        ("application/json;q=7", None, None),
        (",;,=;q", None, None),
    ],
)
def test_accept_selects_preferred_media_type(
    header: str, answer: str | None, stream: str | None
) -> None:
    found = accept(header.encode())
    assert (found.answer, found.stream) == (answer, stream)


@pytest.mark.parametrize(
    ("header", "page"),
    [
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        (b"text/html", True),
        (b"application/json, text/html;q=0.9", False),
        (b"*/*", False),
        (None, False),
    ],
)
def test_accept_detects_browser(header: bytes | None, page: bool) -> None:  # noqa: FBT001 - a column of the table
    assert accept(header).page is page
