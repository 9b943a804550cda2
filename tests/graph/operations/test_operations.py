import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from graphql import OperationType

from db.errors import TooLarge
from db.users import Role
from graph.auth import Viewer
from graph.context import Context
from graph.operations import Answer, GraphQLRequest, Operations, Plans, Prepared, Refused, deadlines
from graph.operations.admission import MAX_ANONYMOUS_CONCURRENCY, Admission
from graph.operations.limits import RequestLimits
from graph.schema import schema as api
from graph.server.observer import OperationObserver
from graph.server.operation_log import OperationLog
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.toy import ANN, schema


@pytest.fixture(autouse=True)
def kept_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine, operations that wait would release their slots during a test."""
    monkeypatch.setattr(deadlines, "SLOT_S", PATIENCE_S)


def plans(*, introspection: bool = True, suggestions: bool = True, **limits: int) -> Plans:
    return Plans(
        schema._schema,
        limits=RequestLimits(**limits),
        introspection=introspection,
        suggestions=suggestions,
    )


def context(address: str = "192.0.2.1", viewer: Viewer | None = None) -> Context:
    database = SimpleNamespace(round_trip_s=0.0, concurrency=2, size=32)
    services = cast("Any", SimpleNamespace(database=database))
    scope = {"client": (address, 50_000)}
    return Context(services=services, viewer=viewer, request_id="r1", scope=scope)


async def prepare(kept: Plans, text: str, name: str | None = None) -> Prepared:
    return kept.find(text, name) or await kept.make(text, name)


async def run(
    text: str,
    variables: dict[str, Any] | None = None,
    limits: RequestLimits = RequestLimits(),  # noqa: B008 - immutable
    **options: Any,
) -> Answer:
    kept = Plans(schema._schema, limits=limits, introspection=True, suggestions=True)
    operations = Operations(kept, limits=limits, **options)
    prepared = await operations.prepare(GraphQLRequest(text), context())
    return await operations.run(prepared, variables, context())


async def refusal_of(text: str, kept: Plans | None = None) -> tuple[Exception, ...]:
    with pytest.raises(Refused) as caught:
        await prepare(kept or plans(), text)
    return caught.value.errors


async def test_plan_is_prepared_once_per_operation() -> None:
    kept = plans()
    text = 'query A { hello } mutation B { signIn(email: "a") }'
    first = await prepare(kept, text, "A")
    assert await prepare(kept, text, "A") is first
    other = await prepare(kept, text, "B")
    assert (first.kind, other.kind) == (OperationType.QUERY, OperationType.MUTATION)


async def test_plan_cache_evicts_least_recently_used() -> None:
    kept = plans(kept_plans=2)
    first, second = await prepare(kept, "{ hello }"), await prepare(kept, "{ name }")
    assert await prepare(kept, "{ hello }") is first
    await prepare(kept, "{ box { name } }")
    assert await prepare(kept, "{ hello }") is first
    assert await prepare(kept, "{ name }") is not second


async def test_plan_cache_counts_bytes() -> None:
    kept = plans(kept_plan_bytes=20_000)
    small = await prepare(kept, "{ hello }")
    large = await prepare(kept, "{ " + "name " * 40 + "}")
    assert await prepare(kept, "{ hello }") is not small
    assert large.size_bytes > 20_000 > small.size_bytes


async def test_plan_is_prepared_once_under_concurrency() -> None:
    kept = plans()
    operations = Operations(kept, limits=RequestLimits())
    sent = [operations.prepare(GraphQLRequest("{ hello }"), context()) for _ in range(10)]
    assert len(set(map(id, await asyncio.gather(*sent)))) == 1
    assert kept.misses == 1


async def test_plan_prepared_in_thread_is_equal() -> None:
    kept = plans()
    text = "# " + "long " * 1_000 + "\n{ hello }"
    both = await asyncio.gather(prepare(kept, text), prepare(kept, text))
    assert {plan.kind for plan in both} == {OperationType.QUERY}
    assert await prepare(kept, text) in both
    kept.close()


async def test_suggestions_are_limited_to_development() -> None:
    [helpful] = await refusal_of("{ helo }")
    assert "Did you mean 'hello'?" in str(helpful)
    for text in ("{ helo }", "{ hello(nam: 1) }", "{ meet(trouble: OVERLOAD) }"):
        errors = await refusal_of(text, plans(suggestions=False))
        assert "mean" not in str(errors)


async def test_introspection_follows_setting() -> None:
    closed = plans(introspection=False)
    assert "introspection" in str(await refusal_of("{ __schema { types { name } } }", closed))
    assert "introspection" in str(await refusal_of('{ __type(name: "Box") { name } }', closed))
    assert (await prepare(closed, "{ __typename hello }")).kind is OperationType.QUERY


@pytest.mark.parametrize(
    "text",
    [
        "{ " + 'hello(name: "a") hello(name: "b") ' * 400 + "}",
        "{ " + "box { name } " * 1_000 + "}",
        "{ "
        + " ".join(f"...f{i}" for i in range(400))
        + "}"
        + " ".join(f"fragment f{i} on Query {{ box {{ name }} }}" for i in range(400)),
    ],
    ids=["same field, other arguments", "same object", "same object in fragments"],
)
async def test_validation_limits_overlap_comparisons(text: str) -> None:
    errors = await refusal_of(text)
    assert any("aborted" in str(error) for error in errors)


async def test_validation_limits_number_of_errors() -> None:
    assert len(await refusal_of("{ " + " ".join(f"x{i}" for i in range(500)) + "}")) == 6


async def test_cost_with_variables_is_checked_before_execution() -> None:
    text = "query($n: Int!) { boxes(first: $n) { boxes(first: $n) { name } } }"
    assert (await run(text, {"n": 3})).code == "OK"
    answer = await run(text, {"n": 10_000})
    assert (answer.ran, answer.code) == (False, TooLarge.code)


FULL = """query($n: Int!) { one: boxes(first: $n) { name } ...F }
fragment F on Query { two: boxes(first: 20) { ... { inner: boxes(first: 10) { name } } } }"""


async def test_query_is_stopped_when_its_result_is_too_large() -> None:
    limits = RequestLimits(fields=100)
    assert (await run("{ boxes(first: 40) { name } }", limits=limits)).code == "OK"
    answer = await run(FULL, {"n": 3}, limits=limits)
    assert (answer.ran, answer.code) == (True, TooLarge.code)
    (error,) = answer.errors
    assert error["message"] == "The result has more than 100 fields; the operation was stopped."
    assert error["extensions"]["hint"] == (
        "Lower `first` of `boxes` (10) or `first` of `boxes` (20), and fetch the rest page by page."
    )
    assert error["path"][0] == "two"
    assert b'"data":null' in answer.payload


async def test_query_that_requests_the_most_is_stopped_soon() -> None:
    """All of it would take twenty times as long, and as much memory."""
    text = "{ a: boxes(first: 1000) { boxes(first: 999) { " + "box { name } " * 4 + "name } } }"
    text = text.replace("box {", "b%d: box {") % (1, 2, 3, 4)
    assert (await prepare(plans(), text)).cost.run({}) > 0.8 * RequestLimits().requested_fields
    began = time.process_time()
    answer = await run(text)
    assert answer.code == TooLarge.code
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "text",
    [
        "mutation { disconnect(input: {id: 1}) { connection { id } } }",
        "subscription { taskChanged { kind } }",
        "{ __schema { types { name } } }",
        '{ viewer { id } __type(name: "Task") { name } }',
    ],
)
async def test_operation_that_cannot_be_stopped_may_request_less(text: str) -> None:
    limits = RequestLimits()
    kept = Plans(api._schema, limits=limits, introspection=True, suggestions=False)
    assert (await prepare(kept, text)).max_cost == limits.fields
    assert (await prepare(kept, "{ viewer { id } }")).max_cost == limits.requested_fields


async def test_invalid_variable_means_nothing_ran() -> None:
    answer = await run("query($n: String!) { hello(name: $n) }", {"n": 5})
    assert (answer.ran, answer.code) == (False, "BAD_USER_INPUT")
    assert b'"data"' not in answer.payload


async def test_operation_times_out() -> None:
    answer = await run("{ wait }", timeout_s=0.01)
    assert (answer.ran, answer.code) == (False, "TIMEOUT")


@pytest.mark.parametrize("text", ["{ unwritable }", "{ wrongType }"])
async def test_unserialisable_result_is_internal_error(text: str) -> None:
    answer = await run(text)
    assert answer.code == "INTERNAL"
    assert b"object at" not in answer.payload
    assert b"no number" not in answer.payload


async def test_operation_is_observed_once() -> None:
    observer = OperationObserver(OperationLog(slow_s=60))
    await run("{ hello }", observer=observer)
    await run("{ meet(trouble: OVERLOADED) }", observer=observer)
    assert {key: sum(found.counts) for key, found in observer.durations.items()} == {
        ("Query.hello", "OK"): 1,
        ("Query.meet", "OVERLOADED"): 1,
    }


async def test_operation_that_fails_before_it_runs_is_observed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def break_down(*_: object, **__: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(Admission, "slot", break_down)
    observer = OperationObserver(OperationLog(slow_s=60))
    with pytest.raises(LookupError):
        await run("{ hello }", observer=observer)
    assert list(observer.durations) == [("Query.hello", "INTERNAL")]


async def follow(text: str) -> list[Answer]:
    operations = Operations(plans(), limits=RequestLimits())
    prepared = await operations.prepare(GraphQLRequest(text), context())
    return [answer async for answer in operations.follow(prepared, None, context())]


async def test_subscription_yields_all_results() -> None:
    payloads = [answer.payload for answer in await follow("subscription { count(to: 2) }")]
    assert payloads == [b'{"data":{"count":1}}', b'{"data":{"count":2}}']


async def test_subscription_error_is_reported_and_ends_it() -> None:
    one, last = await follow("subscription { broken(trouble: SURPRISE) }")
    assert (one.code, last.code) == ("OK", "INTERNAL")
    assert b"hunter2" not in last.payload
    *_, last = await follow("subscription { broken(trouble: FIELD) }")
    assert last.errors[0]["extensions"]["field"] == "name"


async def test_subscription_that_cannot_be_opened_is_refused() -> None:
    """Nothing was executed, so that the response has no `data`."""
    (only,) = await follow("subscription { forever }")
    assert (only.code, only.ran, b'"data"' in only.payload) == ("UNAUTHENTICATED", False, False)


async def test_subscription_events_do_not_share_loaders() -> None:
    operations = Operations(plans(), limits=RequestLimits())
    prepared = await operations.prepare(GraphQLRequest("subscription { count(to: 3) }"), context())
    shared = context()
    async for _ in operations.follow(prepared, None, shared):
        assert not shared.loaders
        shared.loaders[object] = "loaded"


@asynccontextmanager
async def busy(
    operations: Operations,
    count: int,
    address: str,
    viewer: Viewer | None = None,
    text: str = "{ wait }",
) -> AsyncIterator[None]:
    """Starts this number of operations, which do not end."""
    prepared = await operations.prepare(GraphQLRequest(text), context())
    tasks = [
        asyncio.create_task(operations.run(prepared, None, context(address, viewer)))
        for _ in range(count)
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def begun(answer: Any) -> bool:
    """Whether the operation ends within a few iterations of the loop; else cancels it."""
    task = asyncio.ensure_future(answer)
    for _ in range(20):
        await asyncio.sleep(0)
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    return True


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")],
)
async def test_anonymous_clients_share_slots_per_network(
    address: str, same: str, other: str
) -> None:
    operations = Operations(plans(), limits=RequestLimits())
    hello = await operations.prepare(GraphQLRequest("{ hello }"), context())
    async with busy(operations, MAX_ANONYMOUS_CONCURRENCY - 1, address):
        assert await begun(operations.run(hello, None, context(same)))
    async with busy(operations, MAX_ANONYMOUS_CONCURRENCY, address):
        assert not await begun(operations.run(hello, None, context(same)))
        assert await begun(operations.run(hello, None, context(other)))
    assert await begun(operations.run(hello, None, context(same)))


CONDITION = "query($a: Boolean! = true) { a: hello @include(if: $a) b: hello @skip(if: $a) }"


async def test_new_combination_of_conditions_waits_like_a_new_document() -> None:
    """Compiling a large document takes 25 ms, however cheap the operation is."""
    operations = Operations(plans(), limits=RequestLimits())
    prepared = await operations.prepare(GraphQLRequest(CONDITION), context())
    async with operations.admission.document(context()):
        assert await begun(operations.run(prepared, None, context()))
        assert not await begun(operations.run(prepared, {"a": False}, context()))
    answer = await operations.run(prepared, {"a": False}, context())
    assert answer.payload == b'{"data":{"b":"Hello, you!"}}'
    async with operations.admission.document(context()):
        assert await begun(operations.run(prepared, {"a": False}, context()))


async def test_plan_cache_counts_bytes_of_each_combination_of_conditions() -> None:
    plain = await prepare(plans(), "{ " + "hello " * 50 + "}")
    fields = "hello " * 50
    conditional = await prepare(plans(), f"query($a: Boolean!) {{ {fields} name @skip(if: $a) }}")
    assert conditional.size_bytes > 2 * plain.size_bytes


async def test_subscription_releases_slot_after_start() -> None:
    operations = Operations(plans(), limits=RequestLimits())
    ann = Viewer(id=ANN, role=Role.USER, expires_at=datetime.max.replace(tzinfo=UTC))
    forever = await operations.prepare(GraphQLRequest("subscription { forever }"), context())
    hello = await operations.prepare(GraphQLRequest("{ hello }"), context())
    open_ones = [operations.follow(forever, None, context(viewer=ann)) for _ in range(5)]
    for answers in open_ones:
        assert (await anext(answers)).code == "OK"
    assert await begun(operations.run(hello, None, context(viewer=ann)))
    async with busy(operations, 200, "192.0.2.1", ann):
        waits = operations.follow(forever, None, context(viewer=ann))
        assert not await begun(anext(waits))
    for answers in open_ones:
        await answers.aclose()


async def test_heavy_operation_delays_heavy_ones_of_its_user_only() -> None:
    operations = Operations(plans(), limits=RequestLimits())
    ann, bob, eve = (
        Viewer(id=id_, role=Role.USER, expires_at=datetime.max.replace(tzinfo=UTC))
        for id_ in (ANN, UUID(int=2), UUID(int=3))
    )
    pages = " ".join(f"a{n}: boxes(first: $n) {{ name }}" for n in range(11))
    heavy = await operations.prepare(GraphQLRequest(f"query($n: Int = 0) {{ {pages} }}"), context())
    waits = "{ wait b: boxes(first: 1000) { name } }"
    async with (
        busy(operations, 1, "192.0.2.2", eve, "{ wait }"),  # nobody is alone
        busy(operations, 1, "192.0.2.1", ann, waits),
    ):
        assert await begun(operations.run(heavy, {"n": 1}, context(viewer=ann)))
        assert not await begun(operations.run(heavy, {"n": 1_000}, context(viewer=ann)))
        assert await begun(operations.run(heavy, {"n": 1_000}, context(viewer=bob)))
    assert await begun(operations.run(heavy, {"n": 1_000}, context(viewer=ann)))


async def test_operation_refuses_invalid_variables_that_are_too_many_to_report() -> None:
    text = "mutation($email: String!) { signIn(email: $email) }"
    answer = await run(text, {"email": [[0] * 20_001]})
    assert (answer.code, answer.ran) == ("BAD_USER_INPUT", False)
    assert "20,000" in answer.errors[0]["extensions"]["hint"]
