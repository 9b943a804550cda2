"""`howdah import-tasks`: import the file of the old console application and print a report."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from db.errors import BadInput
from db.postgres.embedded import use_running_server
from db.services import open_services
from db.settings import Settings
from db.tasks import ImportReport, Imports, decode_file, import_records, parse_legacy_tasks
from graph.auth import owner_of_email
from graph.tasks.changes import publish_import

CHUNK_BYTES = 65_536


def import_tasks(settings: Settings, file: Path, *, email: str, dry_run: bool) -> bool:
    """Return whether every record was accepted."""
    if not file.is_file():
        raise BadInput(f"{file} is not a file.", hint="Pass the path of the old JSON file.")
    console = Console(highlight=False)
    with _progress(console) as progress:
        progress.add_task("Importing", total=file.stat().st_size, records=0)
        report = asyncio.run(_import(settings, file, progress, email=email, dry_run=dry_run))
    _print_report(report, console, dry_run=dry_run)
    return not report.rejected


async def _import(
    settings: Settings, file: Path, progress: Progress, *, email: str, dry_run: bool
) -> ImportReport:
    """Import in batches, each in its own transaction: an interruption keeps the earlier ones."""
    records = parse_legacy_tasks(decode_file(_chunks(file, progress)))
    report = ImportReport()
    async with open_services(use_running_server(settings)) as services:
        database, owner = services.database, await owner_of_email(services, email)
        async for report in import_records(
            lambda work: database.transaction(lambda session: work(Imports(session, owner))),
            records,
            dry_run=dry_run,
        ):
            progress.update(progress.task_ids[0], records=report.read)
        if not dry_run:
            await publish_import(services.events, owner, report.created)
    return report


def _chunks(file: Path, progress: Progress) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            progress.update(progress.task_ids[0], advance=len(chunk))
            yield chunk


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
        console=console,
    )


def _print_report(report: ImportReport, console: Console, *, dry_run: bool) -> None:
    for rejected in report.rejected:
        console.print(f"record {rejected.index}: {escape(rejected.reason)}")
    console.print(
        f"{'Would be created' if dry_run else 'Created'}: {report.created:,}"
        f"   unchanged: {report.unchanged:,}   rejected: {len(report.rejected):,}",
    )
    if not dry_run:
        console.print(
            f"Read back and compared: {report.created + report.unchanged:,} records match the file,"
            f" checksum {report.checksum[:16] or 'none'}.",
        )
