"""Every operation of GraphiQL's tabs works, in order, with the variables that the page fills in."""

import json
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import DocumentNode, FieldNode, OperationDefinitionNode, parse, print_ast, visit
from graphql.language import Visitor

from db.services import Services
from graph.transport import graphiql
from tests.fixtures.clients import Client
from tests.fixtures.targets import Target
from tests.graph.tasks.test_tasks import followed

EXAMPLES = Path(graphiql.__file__).parent / "source" / "examples"


class Tab:
    """A tab of the page: its document, and the variables that answers fill."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.text = (EXAMPLES / f"{name}.graphql").read_text(encoding="utf-8")
        self.variables = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
        document = parse(self.text)
        self.operations = {
            node.name.value: print_ast(node)
            for node in document.definitions
            if isinstance(node, OperationDefinitionNode) and node.name
        }
        self.ran: list[str] = []
        self._aliases = aliases(document)

    async def run(self, operation: str) -> Any:
        """Sends the whole document, as the page does, and fills the variables."""
        self.ran.append(operation)
        body = {"query": self.text, "operationName": operation, "variables": self.variables}
        response = await self.client.http.post("/graphql", json=body, headers=self.client.headers)
        answer = response.json()
        assert "errors" not in answer, f"correct {operation}: {answer['errors']}"
        self.fill(answer["data"])
        return answer["data"]

    def fill(self, data: Any) -> None:
        """Does what `source/variables.jsx` does in the page."""
        for name in self._aliases & self.variables.keys():
            values = list(values_of(name, data))
            if values and self.variables[name] not in values:
                self.variables[name] = values[0]


def aliases(document: DocumentNode) -> set[str]:
    found = set()

    class Aliases(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            if node.alias:
                found.add(node.alias.value)

    visit(document, Aliases())
    return found


def values_of(name: str, data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        if isinstance(data.get(name), str):
            yield data[name]
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            yield from values_of(name, item)


def test_tabs_have_tests() -> None:
    tabs = {path.stem for path in EXAMPLES.glob("*.graphql")}
    assert tabs == {"1-tasks", "2-workbench", "3-storage", "4-account"}


async def test_tasks_tab_works_in_order(ada: Client, services: Services) -> None:
    tab = Tab(ada, "1-tasks")
    assert (await tab.run("Tasks"))["tasks"]["totalCount"] == 0
    created = (await tab.run("CreateTask"))["createTask"]["task"]
    assert (await tab.run("Tasks"))["tasks"]["nodes"][0]["taskId"] == created["taskId"]
    assert (await tab.run("ToggleTask"))["toggleTask"]["task"]["completed"]
    async with ada.follow(tab.operations["LiveTasks"]) as events:
        await followed(services, ada)
        await ada.ask('mutation { createTask(input: {title: "Wash it"}) { task { id } } }')
        titles = []
        while "Wash it" not in titles:  # the event of the toggle may still be under way
            titles.append((await anext(events)).data["taskChanged"]["task"]["title"])
    assert titles in (["Wash it"], ["Feed the elephant", "Wash it"])
    assert {*tab.ran, "LiveTasks"} == tab.operations.keys()


@pytest.fixture
async def shop(ada: Client, target: Target) -> AsyncIterator[dict[str, Any]]:
    """The input for a connection to a database with the table that the variables name."""
    connection = target.connection("Shop")
    saved = await ada.ask(
        "mutation ($input: SaveConnectionInput!) {"
        " saveConnection(input: $input) { connection { id } } }",
        input=connection | {"name": "For the set-up"},
    )
    connection_id = saved["saveConnection"]["connection"]["id"]

    async def execute(statement: str) -> None:
        ran = await ada.ask(
            "mutation ($input: ExecuteQueryInput!) {"
            " executeQuery(input: $input) { run { state error { message } } } }",
            input={"connectionId": connection_id, "statement": statement, "waitMs": 10_000},
        )
        assert ran["executeQuery"]["run"] == {"state": "SUCCEEDED", "error": None}

    await execute(
        "CREATE SCHEMA shop CREATE TABLE orders (id int PRIMARY KEY, ordered_at timestamptz)"
    )
    yield connection
    await execute("DROP SCHEMA shop CASCADE")


async def test_workbench_tab_works_in_order(ada: Client, shop: dict[str, Any]) -> None:
    tab = Tab(ada, "2-workbench")
    tab.variables["connection"] |= shop
    await tab.run("SaveConnection")
    chosen = tab.variables["connectionId"]
    assert len((await tab.run("Workbench"))["connections"]["nodes"]) == 2
    assert tab.variables["connectionId"] == chosen, "a value that is still there is kept"
    await tab.run("Schemas")
    tables = (await tab.run("Tables"))["connection"]["schema"]["tables"]["nodes"]
    assert [table["tableName"] for table in tables] == ["orders"]
    columns = (await tab.run("Columns"))["connection"]["table"]["columns"]
    assert [column["name"] for column in columns] == ["id", "ordered_at"]
    run = (await tab.run("RunStatement"))["executeQuery"]["run"]
    assert (run["state"], run["rows"]["rows"]) == ("SUCCEEDED", [])
    slow = (await tab.run("StartSlowRun"))["executeQuery"]["run"]
    assert tab.variables["runId"] == slow["runId"]
    watch = tab.operations["WatchRun"]
    async with ada.follow(watch, runId=slow["runId"]) as statuses:
        async for status in statuses:
            if status.data["queryStatus"]["state"] == "RUNNING":
                break
        assert (await tab.run("CancelRun"))["cancelQuery"]["outcome"] == "CANCELLED"
        last = [status async for status in statuses][-1]
    assert last.data["queryStatus"]["state"] == "CANCELLED"
    await run_script(tab)
    assert {*tab.ran, "WatchRun", "WatchScript"} == tab.operations.keys()


async def run_script(tab: Tab) -> None:
    """Opens a session, follows a script in it, and ends its transaction and the session."""
    await tab.run("OpenSession")
    script = (await tab.run("RunScript"))["executeScript"]["scriptRun"]
    watch = tab.operations["WatchScript"]
    async with tab.client.follow(watch, scriptId=script["scriptId"]) as statuses:
        last = [status async for status in statuses][-1].data["scriptStatus"]
    assert (last["state"], last["error"]) == ("SUCCEEDED", None)
    assert last["runs"]["nodes"][-1]["rows"]["rows"] == [["hay"]]
    ended = (await tab.run("RollBack"))["rollbackTransaction"]
    assert ended["session"]["state"] == "IDLE"
    closed = (await tab.run("CloseSession"))["closeSession"]
    assert closed["session"]["closeReason"] == "CLIENT"


async def test_storage_tab_works_in_order(ada: Client) -> None:
    tab = Tab(ada, "3-storage")
    assert (await tab.run("Storage"))["buckets"]["nodes"] == []
    await tab.run("CreateBucket")
    created = (await tab.run("CreateFile"))["createFile"]
    (line,) = re.findall(r"^# +(curl .*)$", tab.text, re.MULTILINE)
    match shlex.split(line):
        case ["curl", "-X", "PUT", "-d", content, "<uploadUrl>"]:
            form = {"content-type": "application/x-www-form-urlencoded"}  # as curl sends it
            stored = await ada.http.put(created["uploadUrl"], content=content, headers=form)
        case other:
            pytest.fail(f"this test does not send {other}")
    assert stored.status_code == 201, stored.text
    file = (await tab.run("File"))["file"]
    assert file["status"] == "STORED"
    assert (await ada.http.get(file["downloadUrl"])).text == content
    (bucket,) = (await tab.run("Storage"))["buckets"]["nodes"]
    assert bucket["files"]["nodes"][0]["fileId"] == tab.variables["fileId"]
    assert set(tab.ran) == tab.operations.keys()


async def test_account_tab_works_in_order(ada: Client) -> None:
    tab = Tab(ada, "4-account")
    assert (await tab.run("Account"))["viewer"]["name"] == "Ada"
    assert (await tab.run("SignUp"))["signUp"]["session"]["accessToken"]
    tab.client.token = (await tab.run("SignIn"))["signIn"]["session"]["accessToken"]
    assert (await tab.run("Account"))["viewer"]["name"] == tab.variables["name"]
    assert set(tab.ran) == tab.operations.keys()
