"""Each root field of a mutation sees the changes of the previous ones, in every domain."""

from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bucket, make_connection, make_task


async def test_create_file_counts_files_of_earlier_fields(ada: Client) -> None:
    bucket = await make_bucket(ada)
    answer = await ada.ask(
        """
        mutation ($a: CreateFileInput!, $b: CreateFileInput!) {
          a: createFile(input: $a) { file { bucket { fileCount } } }
          b: createFile(input: $b) { file { bucket { fileCount } } }
        }
        """,
        a={"bucketId": bucket, "location": "a", "size": "1"},
        b={"bucketId": bucket, "location": "b", "size": "1"},
    )
    counts = [answer[name]["file"]["bucket"]["fileCount"] for name in "ab"]
    assert counts == [1, 2]


async def test_create_file_shows_its_bucket_as_an_earlier_field_renamed_it(ada: Client) -> None:
    bucket = await make_bucket(ada, name="before")
    answer = await ada.ask(
        """
        mutation ($a: CreateFileInput!, $rename: UpdateBucketInput!, $b: CreateFileInput!) {
          a: createFile(input: $a) { file { bucket { name } } }
          updateBucket(input: $rename) { bucket { name } }
          b: createFile(input: $b) { file { bucket { name } } }
        }
        """,
        a={"bucketId": bucket, "location": "a", "size": "1"},
        rename={"id": bucket, "name": "after"},
        b={"bucketId": bucket, "location": "b", "size": "1"},
    )
    assert [answer[name]["file"]["bucket"]["name"] for name in "ab"] == ["before", "after"]


async def test_run_shows_its_connection_as_an_earlier_field_renamed_it(ada: Client) -> None:
    connection = await make_connection(ada, name="before")
    run = {"connectionId": connection, "statement": "SELECT 1"}
    answer = await ada.ask(
        """
        mutation ($run: ExecuteQueryInput!, $rename: SaveConnectionInput!) {
          a: executeQuery(input: $run) { run { connection { name } } }
          saveConnection(input: $rename) { connection { name } }
          b: executeQuery(input: $run) { run { connection { name } } }
        }
        """,
        run=run,
        rename={"id": connection, "name": "after"},
    )
    assert [answer[name]["run"]["connection"]["name"] for name in "ab"] == ["before", "after"]


async def test_toggle_task_twice_returns_each_state(ada: Client) -> None:
    answer = await ada.ask(
        """
        mutation ($task: ToggleTaskInput!) {
          a: toggleTask(input: $task) { task { completed version } }
          b: toggleTask(input: $task) { task { completed version } }
        }
        """,
        task={"id": await make_task(ada)},
    )
    assert [answer[name]["task"]["completed"] for name in "ab"] == [True, False]
