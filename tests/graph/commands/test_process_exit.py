import asyncio
import sys
from asyncio.subprocess import PIPE

from tests.graph.commands.test_cli import ROOT

COMMAND = """
import asyncio, pathlib, sys
from db.objects.store import open_objects
from graph.commands import main

@main.app.command()
def fail() -> None:
    objects = open_objects("memory:", data_dir=pathlib.Path())
    asyncio.run(objects.read_bytes("none", start=0, end=1))

sys.argv[1:] = ["fail"]
main.main()
"""


async def test_command_whose_object_store_fails_ends_with_its_exit_code() -> None:
    """One of five aborted: a thread of obstore met the finalization of the interpreter."""

    async def fail() -> tuple[int | None, int]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND), cwd=ROOT, stderr=PIPE
        )
        _, errors = await process.communicate()
        return process.returncode, errors.count(b"error: ")

    for _ in range(6):
        assert await asyncio.gather(*(fail() for _ in range(4))) == [(1, 1)] * 4
