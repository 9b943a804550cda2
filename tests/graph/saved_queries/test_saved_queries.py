"""Saved queries are kept with their versions, listed, searched, exported and imported."""

from typing import Any

import pytest

from db.saved_queries import versions as versions_module
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection, make_saved_query

SAVE = """mutation($input: SaveQueryInput!) { saveQuery(input: $input) { savedQuery {
  id name folder text version connection { id } parameters { name type default hasDefault } } } }"""
READ = """query($id: ID!) { savedQuery(id: $id) { name folder text version connection { id }
  parameters { name type hasDefault default }
  versions(first: 2) { totalCount pageInfo { hasNextPage endCursor }
    nodes { version name folder text parameters { name } } } } }"""
LIST = """query($folder: String, $search: String, $orderBy: SavedQueryOrder, $after: String) {
  savedQueries(first: 2, after: $after, folder: $folder, search: $search, orderBy: $orderBy) {
    nodes { name } totalCount pageInfo { hasNextPage endCursor } } }"""
FOLDERS = """query($under: String, $after: String) {
  savedQueryFolders(first: 2, after: $after, under: $under) {
    nodes { path name } totalCount pageInfo { hasNextPage endCursor } } }"""
EXPORT = "query($folder: String) { exportSavedQueries(folder: $folder) }"
IMPORT = """mutation($input: ImportSavedQueriesInput!) { importSavedQueries(input: $input) {
  created updated unchanged rejected { index name reason } } }"""


async def save(client: Client, **values: Any) -> Any:
    return (await client.ask(SAVE, input=values))["saveQuery"]["savedQuery"]


async def names(client: Client, **arguments: Any) -> list[str]:
    """All pages of a list."""
    found: list[str] = []
    after = None
    while True:
        page = (await client.ask(LIST, after=after, **arguments))["savedQueries"]
        found += [query["name"] for query in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert page["totalCount"] == len(found)
            return found
        after = page["pageInfo"]["endCursor"]


async def folders(client: Client, under: str | None = None) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = (await client.ask(FOLDERS, under=under, after=after))["savedQueryFolders"]
        found += [folder["path"] for folder in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert page["totalCount"] == len(found)
            return found
        after = page["pageInfo"]["endCursor"]


async def test_save_query_keeps_what_was_before_as_versions(ada: Client) -> None:
    connection = await make_connection(ada)
    parameters = [{"name": "since", "type": "date", "default": None}, {"name": "most"}]
    made = await save(
        ada,
        name=" Orders ",
        folder="/reports/sales/",
        text="SELECT $1, $2\n",
        connectionId=connection,
        parameters=parameters,
    )
    query_id = made.pop("id")
    assert made == {
        "name": "Orders",
        "folder": "reports/sales",
        "text": "SELECT $1, $2\n",
        "version": 1,
        "connection": {"id": connection},
        "parameters": [
            {"name": "since", "type": "date", "default": None, "hasDefault": True},
            {"name": "most", "type": None, "default": None, "hasDefault": False},
        ],
    }
    assert (await save(ada, id=query_id, text="SELECT $1, $2\n"))["version"] == 1
    assert (await save(ada, id=query_id, text="SELECT 2", expectedVersion=1))["version"] == 2
    assert (await save(ada, id=query_id, connectionId=None))["version"] == 3
    assert (await save(ada, id=query_id, folder=None, parameters=None))["version"] == 4
    stale = await ada.send(SAVE, input={"id": query_id, "text": "x", "expectedVersion": 2})
    assert stale.code == "CONFLICT"

    now = (await ada.ask(READ, id=query_id))["savedQuery"]
    versions = now.pop("versions")
    assert now == {
        "name": "Orders",
        "folder": "",
        "text": "SELECT 2",
        "version": 4,
        "connection": None,
        "parameters": [],
    }
    assert versions["totalCount"] == 2
    shown = [(each["version"], each["folder"], each["text"]) for each in versions["nodes"]]
    assert shown == [(3, "reports/sales", "SELECT 2"), (1, "reports/sales", "SELECT $1, $2\n")]
    assert versions["nodes"][1]["parameters"] == [{"name": "since"}, {"name": "most"}]


async def test_versions_of_saved_query_are_paged_and_limited(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions_module, "MAX_VERSIONS", 3)
    query_id = await make_saved_query(ada, text="SELECT 0")
    other = await make_saved_query(ada)
    await save(ada, id=other, text="SELECT 2")
    for number in range(1, 6):
        await save(ada, id=query_id, text=f"SELECT {number}")
    document = """query($id: ID!, $after: String) { node(id: $id) { ... on SavedQuery {
      versions(first: 2, after: $after) {
        nodes { text } pageInfo { hasNextPage endCursor } } } } }"""
    first = (await ada.ask(document, id=query_id))["node"]["versions"]
    assert [each["text"] for each in first["nodes"]] == ["SELECT 4", "SELECT 3"]
    after = first["pageInfo"]["endCursor"]
    rest = (await ada.ask(document, id=query_id, after=after))["node"]["versions"]
    assert [each["text"] for each in rest["nodes"]] == ["SELECT 2"]
    assert not rest["pageInfo"]["hasNextPage"]
    kept = (await ada.ask(READ, id=other))["savedQuery"]["versions"]
    assert kept["totalCount"] == 1


async def test_saved_queries_are_listed_by_folder_search_and_order(
    ada: Client, bob: Client
) -> None:
    for name, folder, text in (
        ("beta", "", "SELECT 1"),
        ("Alpha", "a", "SELECT needle"),
        ("gamma", "a", "SELECT 2"),
        ("delta", "a/b/c", "SELECT 3"),
        ("needle%", "a!", "SELECT 4"),
    ):
        await save(ada, name=name, folder=folder, text=text)
    await save(bob, name="bobs", folder="z", text="SELECT needle")
    assert await names(ada) == ["Alpha", "beta", "delta", "gamma", "needle%"]
    assert await names(ada, folder="") == ["beta"]
    assert await names(ada, folder="/a/") == ["Alpha", "gamma"]
    assert await names(ada, search="NEEDLE") == ["Alpha", "needle%"]
    assert await names(ada, search="%", folder="a!") == ["needle%"]
    newest = {"field": "NAME", "direction": "DESC"}
    assert await names(ada, orderBy=newest) == ["needle%", "gamma", "delta", "beta", "Alpha"]
    assert await folders(ada) == ["a", "a!"]
    assert await folders(ada, "a") == ["a/b"]
    assert await folders(ada, "a/b/") == ["a/b/c"]
    assert await folders(ada, "a/b/c") == []
    assert await folders(bob) == ["z"]


async def test_name_of_saved_query_is_unique_in_its_folder(ada: Client, bob: Client) -> None:
    await save(ada, name="Orders", text="SELECT 1")
    await save(ada, name="Orders", folder="a", text="SELECT 1")
    await save(bob, name="Orders", text="SELECT 1")
    again = await ada.send(SAVE, input={"name": "Orders", "folder": "/", "text": "SELECT 2"})
    assert again.code == "CONFLICT"
    assert again.errors[0]["extensions"]["field"] == "name"


async def test_save_query_with_the_same_key_saves_once(ada: Client) -> None:
    values: dict[str, Any] = {
        "name": "Orders",
        "text": "SELECT $1",
        "parameters": [{"name": "a"}, {"name": "b", "default": None}],
        "idempotencyKey": "k",
    }
    first, second = [await save(ada, **values) for _ in range(2)]
    assert first == second
    values["parameters"][0] = {"name": "a", "default": None}
    assert (await ada.send(SAVE, input=values)).code == "CONFLICT"
    assert await names(ada) == ["Orders"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "a\nb"}, "name"),
        ({"name": None}, "name"),
        ({"text": " \n"}, "text"),
        ({"folder": "a/../b"}, "folder"),
        ({"folder": "a\tb"}, "folder"),
        ({"parameters": [{"name": "1st"}]}, "parameters"),
        ({"parameters": [{"name": "a"}, {"name": "a"}]}, "parameters"),
        ({"parameters": [{"name": f"p{n}"} for n in range(101)]}, "parameters"),
        ({"parameters": [{"name": "a", "default": "x" * 70_000}]}, "parameters"),
    ],
)
async def test_save_query_refuses_what_cannot_be_saved(
    ada: Client, values: dict[str, Any], field: str
) -> None:
    answer = await ada.send(SAVE, input={"name": "n", "text": "SELECT 1"} | values)
    assert answer.code in {"BAD_USER_INPUT", "TOO_LARGE"}
    assert answer.errors[0]["extensions"]["field"] == field


async def test_export_is_imported_without_loss_and_changes_nothing_twice(
    ada: Client, bob: Client
) -> None:
    connection = await make_connection(ada)
    await save(ada, name="one", text="SELECT 1;\n\n", connectionId=connection)
    parameters = [{"name": "since", "type": "date", "default": {"a": [1, None]}}, {"name": "b"}]
    await save(ada, name="two", folder="a/b", text="-- @query x\n;\n", parameters=parameters)
    file = (await ada.ask(EXPORT))["exportSavedQueries"]
    everything = """{ savedQueries(first: 9) { nodes {
      name folder text parameters { name type default hasDefault } } } }"""
    before = await ada.ask(everything)

    unchanged = {"created": 0, "updated": 0, "unchanged": 2, "rejected": []}
    assert await ada.ask(IMPORT, input={"sql": file}) == {"importSavedQueries": unchanged}
    created = {"created": 2, "updated": 0, "unchanged": 0, "rejected": []}
    dry = await bob.ask(IMPORT, input={"sql": file, "dryRun": True})
    assert dry == {"importSavedQueries": created}
    assert await names(bob) == []
    assert await bob.ask(IMPORT, input={"sql": file}) == {"importSavedQueries": created}
    assert await bob.ask(everything) == before

    changed = file.replace("SELECT 1", "SELECT 2") + "-- @query\nSELECT 3"
    for dry_run in (True, False):
        report = await ada.ask(IMPORT, input={"sql": changed, "dryRun": dry_run})
        found = report["importSavedQueries"]
        assert (found["created"], found["updated"], found["unchanged"]) == (0, 1, 1)
        assert [(each["index"], each["name"]) for each in found["rejected"]] == [(2, "")]
    listed = await ada.ask("{ savedQueries(first: 1) { nodes { id } } }")
    one = (await ada.ask(READ, id=listed["savedQueries"]["nodes"][0]["id"]))["savedQuery"]
    assert (one["text"], one["connection"]) == ("SELECT 2;\n\n", {"id": connection})
    assert [each["text"] for each in one["versions"]["nodes"]] == ["SELECT 1;\n\n"]


async def test_export_of_a_folder_has_its_subfolders_and_no_others(ada: Client) -> None:
    for folder in ("", "a", "a/b", "a!", "ab"):
        await save(ada, name=f"in {folder}", folder=folder, text="SELECT 1")
    file = (await ada.ask(EXPORT, folder="a"))["exportSavedQueries"]
    lines = [line for line in file.splitlines() if line.startswith("-- @query")]
    assert lines == ["-- @query in a", "-- @query in a/b"]


async def test_deleted_connection_is_taken_from_its_saved_queries(ada: Client) -> None:
    connection = await make_connection(ada)
    made = await save(ada, name="one", text="SELECT 1", connectionId=connection)
    await ada.ask(
        "mutation($id: ID!) { deleteConnection(input: {id: $id}) { deletedConnectionId } }",
        id=connection,
    )
    found = (await ada.ask(READ, id=made["id"]))["savedQuery"]
    assert (found["connection"], found["version"]) == (None, 1)


async def test_saved_query_is_deleted_with_its_versions(ada: Client) -> None:
    query_id = await make_saved_query(ada)
    await save(ada, id=query_id, text="SELECT 2")
    delete = """mutation($input: DeleteSavedQueryInput!) {
      deleteSavedQuery(input: $input) { deletedSavedQueryId } }"""
    stale = await ada.send(delete, input={"id": query_id, "expectedVersion": 1})
    assert stale.code == "CONFLICT"
    gone = await ada.ask(delete, input={"id": query_id, "expectedVersion": 2})
    assert gone == {"deleteSavedQuery": {"deletedSavedQueryId": query_id}}
    assert await ada.ask(READ, id=query_id) == {"savedQuery": None}


async def test_texts_that_aliases_repeat_are_limited(ada: Client) -> None:
    """A response of 72 MB, which grows with each saved query."""
    for _ in range(3):
        await make_saved_query(ada, text="-" * 490_000)
    repeated = " ".join(f"t{number}: text" for number in range(49))
    answer = await ada.send(f"{{ savedQueries(first: 10) {{ nodes {{ {repeated} }} }} }}")
    assert answer.code == "TOO_LARGE"
    assert (await ada.send("{ savedQueries(first: 10) { nodes { text } } }")).code == "OK"
