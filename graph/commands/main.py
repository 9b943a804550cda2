"""`howdah`: the command line. Each command's work is a module of `graph.commands`, loaded for it.

`howdah --help` and a wrong option answer at once, because nothing else was imported. By click,
which uvicorn loads anyway; typer would cost each start 0.15 s and 23 MB (docs/decisions).
"""

import gc
import sys
from pathlib import Path
from typing import NoReturn

import click

from db.errors import HowdahError
from db.settings import load_settings
from graph.commands.options import data_dir_option
from graph.commands.user import user_group


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def app() -> None:
    """Howdah: a GraphQL server for people who work on PostgreSQL."""


def main() -> NoReturn:
    """Run a command. What went wrong on purpose is told in two lines, without a traceback."""
    try:
        app(prog_name="howdah")
    except HowdahError as error:
        click.echo(f"error: {error.message}\nhint: {error.hint}", err=True)
    sys.exit(1)


@app.command()
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=int, help="The port; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="So many processes.")
@data_dir_option
def serve(host: str | None, port: int | None, workers: int, data_dir: Path | None) -> None:
    """Migrate the database, then serve GraphQL until told to stop."""
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    gc.disable()  # what is loaded now stays; graph.server.uvicorn_server switches it on again
    if workers == 1:
        from graph.commands.serve import serve_until_stopped

        serve_until_stopped(settings)
    else:
        from graph.commands.workers import serve_with_workers

        serve_with_workers(settings, workers)


@app.command()
@click.option("--down", metavar="REVISION", help="Go back to an older revision.")
@click.option("--check", is_flag=True, help="Change nothing; fail when something is to do.")
@data_dir_option
def migrate(*, down: str | None, check: bool, data_dir: Path | None) -> None:
    """Bring the database up to date; several at once do no harm."""
    from graph.commands.migrate import run_migrations

    run_migrations(load_settings(data_dir=data_dir), down=down, check=check)


@app.command()
def schema() -> None:
    """Print the GraphQL schema; needs no database."""
    from graph.commands.schema import print_schema

    print_schema()


@app.command()
@data_dir_option
def doctor(data_dir: Path | None) -> None:
    """Check settings, data folder, database and events; say what to mend."""
    from graph.commands.doctor import run_checks

    if not run_checks(data_dir=data_dir):
        sys.exit(1)


app.add_command(user_group)


@app.group()
def keys() -> None:
    """Keys: rotate."""


@keys.command()
@data_dir_option
def rotate(data_dir: Path | None) -> None:
    """Seal every stored credential anew, under the new key."""
    from graph.commands.keys import rotate_keys

    rotate_keys(load_settings(data_dir=data_dir))


@app.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--user", metavar="EMAIL", required=True, help="Whose tasks they are to be.")
@click.option("--dry-run", is_flag=True, help="Change nothing; report.")
@data_dir_option
def import_tasks(file: Path, user: str, *, dry_run: bool, data_dir: Path | None) -> None:
    """Import the old console application's JSON file; a second run changes nothing.

    Fails when a record is rejected.
    """
    from graph.commands.import_tasks import import_tasks

    if not import_tasks(load_settings(data_dir=data_dir), file, email=user, dry_run=dry_run):
        sys.exit(1)


@app.command()
@click.argument("file", type=click.Path(path_type=Path))
@data_dir_option
def backup(file: Path, data_dir: Path | None) -> None:
    """Write every row, as of one moment, and every file into a new FILE, beside a live server."""
    from graph.commands.backup import write_backup

    write_backup(load_settings(data_dir=data_dir), file)


@app.command()
@click.argument("file", type=click.Path(path_type=Path))
@data_dir_option
def restore(file: Path, data_dir: Path | None) -> None:
    """Bring a backup into an empty database, and compare what is there with it."""
    from graph.commands.backup import restore_backup

    restore_backup(load_settings(data_dir=data_dir), file)


if __name__ == "__main__":
    main()
