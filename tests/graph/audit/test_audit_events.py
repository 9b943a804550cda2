"""Each act appears in the audit log, with who, from where and by which request."""

import asyncio

import pytest

from db.kit.audit import AuditKind
from db.kit.base import new_id
from db.services import Services
from graph.commands.users import accounts
from tests.fixtures.architecture import ROOT, SOURCES
from tests.fixtures.audit import Doer, brief, events_of, mutation, signed_up
from tests.fixtures.clients import Client
from tests.fixtures.factories import (
    create_access_token,
    make_bucket,
    make_connection,
    make_connection_to,
    make_file,
)
from tests.fixtures.targets import CANARY, Target

SIGN_IN = """mutation($input: SignInInput!) { signIn(input: $input) {
  session { accessToken refreshToken } } }"""
REFRESH = """mutation($token: String) { refreshSession(input: {refreshToken: $token}) {
  session { refreshToken } } }"""
RESET = """mutation($id: ID!) { createPasswordReset(input: {userId: $id}) { token } }"""


async def test_sign_in_and_its_failures_are_recorded(anonymous: Client, admin: Client) -> None:
    account, made = await signed_up(anonymous)
    user_id, do = made["user"]["id"], Doer(anonymous)
    right = await do.event(admin, mutation("signIn"), input=account)
    assert brief(right) == ("SIGN_IN", "SUCCEEDED")
    assert (right["actorId"], right["userId"]) == (user_id, user_id)
    assert right["actorEmail"] == right["subjectName"] == account["email"]
    assert right["sessionId"].startswith("signin_")
    wrong = await do.event(admin, mutation("signIn"), input=account | {"password": CANARY})
    assert brief(wrong) == ("SIGN_IN", "FAILED")
    assert (wrong["actorId"], wrong["userId"]) == (None, user_id)
    nobody = {"email": f"{CANARY}@example.com".lower(), "password": CANARY}
    unknown = [await do.event(admin, mutation("signIn"), input=nobody) for _ in range(2)]
    assert unknown[0]["subjectName"] == unknown[1]["subjectName"]
    assert unknown[0]["subjectName"].startswith("unknown:")
    assert unknown[0]["userId"] is None
    assert CANARY.lower() not in str(unknown).lower() + str(wrong).lower()
    mine = Client(anonymous._app, anonymous.http, None, made["session"]["accessToken"])
    seen = [brief(event) for event in await events_of(mine)]
    assert seen == [("SIGN_UP", "SUCCEEDED"), ("SIGN_IN", "SUCCEEDED"), ("SIGN_IN", "FAILED")]


async def test_session_and_password_acts_are_recorded(anonymous: Client, admin: Client) -> None:
    account, made = await signed_up(anonymous)
    mine = Client(anonymous._app, anonymous.http, None, made["session"]["accessToken"])
    token, do = made["session"]["refreshToken"], Doer(mine)
    passwords = {"currentPassword": CANARY, "newPassword": "another long password"}
    failed = await do.event(admin, mutation("changePassword"), input=passwords)
    assert brief(failed) == ("PASSWORD_CHANGED", "FAILED")
    left = await do.event(admin, mutation("signOut"), input={"refreshToken": token})
    assert brief(left) == ("SIGN_OUT", "SUCCEEDED")
    assert left["actorId"] == made["user"]["id"]
    again = (await anonymous.ask(SIGN_IN, input=account))["signIn"]["session"]
    mine = Client(anonymous._app, anonymous.http, None, again["accessToken"])
    passwords["currentPassword"] = account["password"]
    changed = await Doer(mine).event(admin, mutation("changePassword"), input=passwords)
    assert brief(changed) == ("PASSWORD_CHANGED", "SUCCEEDED")
    wanted = {"userId": made["user"]["id"]}
    created = await Doer(admin).event(admin, mutation("createPasswordReset"), input=wanted)
    assert brief(created) == ("PASSWORD_RESET_CREATED", "SUCCEEDED")
    assert admin.user is not None
    assert (created["actorEmail"], created["userId"]) == (admin.user.email, wanted["userId"])
    reset = {"token": CANARY, "newPassword": "a third long password"}
    refused = await Doer(anonymous).event(admin, mutation("resetPassword"), input=reset)
    assert brief(refused) == ("PASSWORD_RESET", "FAILED")


async def test_reuse_of_refresh_token_and_reset_are_recorded(
    anonymous: Client, admin: Client
) -> None:
    _, made = await signed_up(anonymous)
    first = made["session"]["refreshToken"]
    token = first
    for _ in range(2):  # the token before the last is in its grace period
        token = (await anonymous.ask(REFRESH, token=token))["refreshSession"]["session"][
            "refreshToken"
        ]
    reused = await Doer(anonymous).event(admin, REFRESH, token=first)
    assert brief(reused) == ("REFRESH_TOKEN_REUSED", "SUCCEEDED")
    assert reused["userId"] == made["user"]["id"]
    token = (await admin.ask(RESET, id=made["user"]["id"]))["createPasswordReset"]["token"]
    reset = {"token": token, "newPassword": "a third long password"}
    done = await Doer(anonymous).event(admin, mutation("resetPassword"), input=reset)
    assert brief(done) == ("PASSWORD_RESET", "SUCCEEDED")
    assert done["userId"] == made["user"]["id"]


async def test_connection_acts_are_recorded(ada: Client, admin: Client, target: Target) -> None:
    do, fields = Doer(ada), {"name": "Orders", "host": "127.0.0.1", "database": "d"}
    saved = fields | {"username": "ada", "password": CANARY, "savePassword": True}
    made = await do.event(admin, mutation("saveConnection"), input=saved)
    assert brief(made) == ("CONNECTION_SAVED", "SUCCEEDED")
    assert made["subjectName"] == "Orders"
    assert made["details"]["created"] is True
    assert made["details"]["username"] == "ada"
    changes = {"id": made["subjectId"], "name": "New", "password": CANARY}
    changed = await do.event(admin, mutation("saveConnection"), input=changes)
    assert changed["details"]["changed"] == ["name", "password"]
    gone = await do.event(admin, mutation("deleteConnection"), input={"id": made["subjectId"]})
    assert (gone["kind"], gone["subjectName"]) == ("CONNECTION_DELETED", "New")
    opens = {"id": await make_connection_to(ada, target)}
    opened = await do.event(admin, mutation("connect"), input=opens)
    assert brief(opened) == ("CONNECTION_OPENED", "SUCCEEDED")
    assert opened["details"]["database"] == "postgres"
    closed = await do.event(admin, mutation("disconnect"), input=opens)
    assert brief(closed) == ("CONNECTION_CLOSED", "SUCCEEDED")
    closed_port = {"id": await make_connection(ada), "password": CANARY}
    failed = await do.event(admin, mutation("connect"), input=closed_port)
    assert brief(failed) == ("CONNECTION_OPENED", "FAILED")
    assert failed["details"]["error"] == "UNAVAILABLE"
    unsaved = saved | {"port": 1}
    del unsaved["savePassword"]
    tested = await do.event(admin, mutation("testConnection"), input=unsaved)
    assert brief(tested) == ("CONNECTION_TESTED", "FAILED")
    assert tested["details"]["host"] == "127.0.0.1"
    assert CANARY not in str(await events_of(admin))


@pytest.mark.parametrize("statement", ["SELECT 1 AS one", "SELECT 1/0"])
async def test_run_is_recorded_with_statement_and_outcome(
    ada: Client, admin: Client, target: Target, statement: str
) -> None:
    connection = await make_connection_to(ada, target)
    run = {"connectionId": connection, "statement": statement, "waitMs": 20_000}
    event = await Doer(ada).event(admin, mutation("executeQuery"), input=run)
    details, works = event["details"], statement.endswith("one")
    assert brief(event) == ("QUERY_RUN", "SUCCEEDED" if works else "FAILED")
    assert ada.user is not None
    assert (event["actorEmail"], event["subjectName"]) == (ada.user.email, "Orders")
    assert event["sessionId"] is not None
    assert event["subjectId"].startswith("run_")
    assert details["statement"] == statement
    assert (details["database"], details["username"]) == ("postgres", "ada")
    assert details["connectionId"] == connection
    assert details["state"] == ("SUCCEEDED" if works else "FAILED")
    assert details.get("sqlstate") == (None if works else "22012")
    assert details["rowCount"] == int(works)
    assert details["elapsedMs"] >= 0
    deleted = await Doer(ada).event(
        admin, mutation("deleteQueryRun"), input={"id": event["subjectId"]}
    )
    assert brief(deleted) == ("QUERY_RUN_DELETED", "SUCCEEDED")
    assert await events_of(admin, kinds=["QUERY_RUN"]) == [event]


async def test_runs_accepted_together_are_recorded_each_with_its_request(
    ada: Client, admin: Client, target: Target
) -> None:
    connection = await make_connection_to(ada, target)

    async def run(number: int) -> tuple[str, str]:
        statement = f"SELECT {number}"
        call = {"connectionId": connection, "statement": statement, "waitMs": 20_000}
        _, request_id = await Doer(ada)(mutation("executeQuery"), input=call)
        return request_id, statement

    sent = await asyncio.gather(*map(run, range(24)))
    events = await events_of(admin, kinds=["QUERY_RUN"])
    recorded = [(event["requestId"], event["details"]["statement"]) for event in events]
    assert sorted(recorded) == sorted(sent)


async def test_run_is_recorded_without_secrets_and_shortened(
    ada: Client, admin: Client, target: Target
) -> None:
    connection = await make_connection_to(ada, target)
    secret = f"ALTER ROLE nobody PASSWORD '{CANARY}' -- {'x' * 20_000}"
    run = {"connectionId": connection, "statement": secret, "waitMs": 20_000}
    details = (await Doer(ada).event(admin, mutation("executeQuery"), input=run))["details"]
    assert details["statement"].startswith("ALTER ROLE nobody PASSWORD [hidden] -- x")
    assert len(details["statement"]) < 10_100
    assert details["statementLength"] == len(secret)
    assert CANARY not in str(details)


async def test_storage_acts_are_recorded(ada: Client, admin: Client) -> None:
    do, bucket = Doer(ada), await make_bucket(ada, name="reports")
    file = await make_file(ada, bucketId=bucket)
    urls = "query($id: ID!) { file(id: $id) { uploadUrl downloadUrl } }"
    upload = (await ada.ask(urls, id=file))["file"]["uploadUrl"]
    answer = await ada.http.put(upload, content=b"hello", headers={"X-Request-ID": "upload-1"})
    assert answer.status_code == 201
    download = (await ada.ask(urls, id=file))["file"]["downloadUrl"]
    answer = await ada.http.get(download, headers={"X-Request-ID": "download-1"})
    assert answer.content == b"hello"
    for request_id, kind in (("upload-1", "FILE_UPLOADED"), ("download-1", "FILE_DOWNLOADED")):
        (event,) = await events_of(admin, requestId=request_id)
        assert brief(event) == (kind, "SUCCEEDED")
        assert (event["subjectId"], event["details"]["bytes"]) == (file, 5)
        assert ada.user is not None
        assert (event["actorEmail"], event["clientAddress"]) == (ada.user.email, "127.0.0.1")
        assert event["sessionId"] is not None
    public = await do.event(admin, mutation("updateBucket"), input={"id": bucket, "private": False})
    assert (public["kind"], public["details"]) == ("BUCKET_UPDATED", {"private": False})
    moved = await do.event(admin, mutation("moveFile"), input={"id": file, "location": "b"})
    assert (moved["kind"], moved["subjectName"]) == ("FILE_MOVED", "b")
    removed = await do.event(admin, mutation("deleteFile"), input={"id": file})
    assert (removed["kind"], removed["subjectName"]) == ("FILE_DELETED", "b")
    gone = await do.event(admin, mutation("deleteBucket"), input={"id": bucket})
    assert (gone["kind"], gone["subjectName"]) == ("BUCKET_DELETED", "reports")


async def test_result_export_and_download_are_recorded(
    ada: Client, admin: Client, target: Target
) -> None:
    run = {"connectionId": await make_connection_to(ada, target), "statement": "SELECT 1"}
    document = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
      run { id downloadUrl(format: CSV) } } }"""
    done = (await ada.ask(document, input=run | {"waitMs": 20_000}))["executeQuery"]["run"]
    await ada.http.get(done["downloadUrl"], headers={"X-Request-ID": "result-1"})
    (event,) = await events_of(admin, requestId="result-1")
    assert (*brief(event), event["subjectId"]) == ("RESULT_DOWNLOADED", "SUCCEEDED", done["id"])
    assert event["details"]["format"] == "csv"
    export = {"id": done["id"], "bucketId": await make_bucket(ada), "location": "a"}
    exported = await Doer(ada).event(
        admin, mutation("exportQueryRun"), input=export | {"format": "CSV"}
    )
    assert brief(exported) == ("RESULT_EXPORTED", "SUCCEEDED")
    assert exported["subjectId"].startswith("file_")


async def test_acts_of_admins_are_recorded(admin: Client) -> None:
    do, provider = Doer(admin), {"account": new_id().hex, "capacity": "5", "multiaddresses": []}
    made = await do.event(admin, mutation("createBsp"), input=provider)
    assert (made["kind"], made["subjectName"]) == ("BSP_CREATED", provider["account"])
    bsp = {"id": made["subjectId"]}
    larger = await do.event(admin, mutation("updateBspCapacity"), input=bsp | {"capacity": "6"})
    assert (larger["kind"], larger["details"]["capacity"]) == ("BSP_UPDATED", "6")
    addresses = bsp | {"multiaddresses": ["/ip4/192.0.2.1/tcp/1"]}
    moved = await do.event(admin, mutation("setBspMultiaddresses"), input=addresses)
    assert moved["details"]["multiaddresses"] == addresses["multiaddresses"]
    assert (await do.event(admin, mutation("deleteBsp"), input=bsp))["kind"] == "BSP_DELETED"
    check = "mutation { checkDatabase { databaseHealth { ok } } }"
    assert (await do.event(admin, check))["kind"] == "DATABASE_CHECKED"


async def test_changes_of_a_user_by_an_admin_are_recorded(ada: Client, admin: Client) -> None:
    assert ada.user is not None
    do, user = Doer(admin), {"id": f"user_{ada.user.id.hex}"}
    for changes, kind in (
        ({"role": "ADMIN"}, "USER_ROLE_CHANGED"),
        ({"suspended": True}, "USER_SUSPENDED"),
        ({"suspended": False}, "USER_RESUMED"),
    ):
        event = await do.event(admin, mutation("updateUser"), input=user | changes)
        assert (event["kind"], event["userId"], event["subjectId"]) == (kind, *[user["id"]] * 2)
        assert admin.user is not None
        assert (event["actorEmail"], event["subjectName"]) == (admin.user.email, ada.user.email)


async def test_access_tokens_and_ended_sessions_are_recorded(ada: Client, admin: Client) -> None:
    do = Doer(ada)
    wanted = {"name": "backup job", "scopes": ["STORAGE_WRITE"]}
    created = await do.event(admin, mutation("createAccessToken"), input=wanted)
    assert (created["kind"], created["subjectName"]) == ("ACCESS_TOKEN_CREATED", "backup job")
    assert created["details"]["scopes"] == ["STORAGE_WRITE"]
    made = await create_access_token(ada, "STORAGE_WRITE")
    program = Client(ada._app, ada.http, ada.user, made["token"])
    bucket = await make_bucket(program)
    event = await Doer(program).event(admin, mutation("deleteBucket"), input={"id": bucket})
    assert (event["accessTokenId"], event["sessionId"]) == (made["accessToken"]["id"], None)
    revoked = await do.event(
        admin, mutation("revokeAccessToken"), input={"id": made["accessToken"]["id"]}
    )
    assert (revoked["kind"], revoked["subjectId"]) == (
        "ACCESS_TOKEN_REVOKED",
        made["accessToken"]["id"],
    )
    assert made["token"] not in str(await events_of(admin))
    mine = (await ada.ask("{ mySessions(first: 1) { nodes { id } } }"))["mySessions"]["nodes"][0]
    ended = await do.event(admin, mutation("endSession"), input={"id": mine["id"]})
    assert (ended["kind"], ended["subjectId"], ended["sessionId"]) == (
        "SESSION_ENDED",
        *[mine["id"]] * 2,
    )


async def test_acts_of_the_operator_are_recorded(services: Services, admin: Client) -> None:
    email = f"{new_id().hex}@example.com"
    await accounts.create_user(services, email=email, name="New", password="correct horse battery")
    await accounts.update_user(services, email, role="ADMIN")
    await accounts.issue_token(services, email)
    await accounts.end_sessions(services, email)
    await accounts.make_reset_link(services, email)
    removed = await accounts.remove_user(services, email)
    found = await events_of(admin, userId=f"user_{removed.id.hex}")
    assert [event["kind"] for event in found] == [
        "USER_CREATED",
        "USER_ROLE_CHANGED",
        "SIGN_IN",
        "SESSIONS_ENDED",
        "PASSWORD_RESET_CREATED",
        "USER_REMOVED",
    ]
    assert {event["subjectName"] for event in found} == {email}


def test_every_kind_is_recorded_somewhere() -> None:
    texts = [
        path.read_text("utf-8")
        for path in SOURCES
        if not path.is_relative_to(ROOT / "db" / "kit" / "audit")
    ]
    unused = [
        kind
        for kind in AuditKind
        if not any(f"AuditKind.{kind}" in text or f"'{kind}'" in text for text in texts)
    ]
    assert not unused, f"no code records {unused}"
