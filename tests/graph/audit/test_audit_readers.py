"""Who sees which events of the audit log, in which order."""

from tests.fixtures.audit import EVENTS, events_of, mutation, signed_up
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bsp, make_bucket

RESET = """mutation($id: ID!) { createPasswordReset(input: {userId: $id}) { token } }"""


async def test_audit_events_are_hidden_from_other_users(
    ada: Client, bob: Client, admin: Client
) -> None:
    await ada.ask(mutation("deleteBucket"), input={"id": await make_bucket(ada)})
    (event,) = await events_of(ada, kinds=["BUCKET_DELETED"])
    assert await events_of(bob, kinds=["BUCKET_DELETED"]) == []
    assert await events_of(bob, userId=event["userId"]) == []
    assert await events_of(bob, actorId=event["userId"]) == []
    assert await events_of(admin, kinds=["BUCKET_DELETED"]) == [event]
    node = "query($id: ID!) { node(id: $id) { ... on AuditEvent { kind } } }"
    assert (await bob.ask(node, id=event["id"])) == {"node": None}
    for reader in (ada, admin):
        assert (await reader.ask(node, id=event["id"])) == {"node": {"kind": "BUCKET_DELETED"}}


async def test_address_of_admin_is_hidden_from_the_user_concerned(
    anonymous: Client, admin: Client
) -> None:
    _, made = await signed_up(anonymous)
    await admin.ask(RESET, id=made["user"]["id"])
    mine = Client(anonymous._app, anonymous.http, None, made["session"]["accessToken"])
    (event,) = await events_of(mine, kinds=["PASSWORD_RESET_CREATED"])
    assert admin.user is not None
    assert (event["actorEmail"], event["clientAddress"]) == (admin.user.email, None)


async def test_audit_events_are_paged_and_filtered(ada: Client, admin: Client) -> None:
    for _ in range(3):
        await make_bsp(admin)
    newest = await admin.ask(EVENTS.replace("first: 100", "first: 2"), filter=None)
    page = newest["auditEvents"]
    assert page["pageInfo"]["hasNextPage"]
    rest = await admin.ask(EVENTS, filter=None, after=page["pageInfo"]["endCursor"])
    found = page["nodes"] + rest["auditEvents"]["nodes"]
    assert found == list(reversed(await events_of(admin)))
    times = [event["createdAt"] for event in found]
    assert times == sorted(times, reverse=True)
    later = await events_of(admin, createdAfter=times[1])
    assert later == [found[0]]
    assert await events_of(admin, createdBefore=times[-1]) == []
    made = await events_of(admin, kinds=["BSP_CREATED", "BSP_DELETED"], outcome="SUCCEEDED")
    assert [event["kind"] for event in made] == ["BSP_CREATED"] * 3
    assert await events_of(admin, outcome="FAILED") == []
    assert len(await events_of(ada)) == 1  # the sign-in
