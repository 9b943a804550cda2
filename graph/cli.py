"""`howdah`: the command line. Each command's work is a module of `graph.commands`, loaded for it.

`howdah --help` and a wrong option answer at once, because nothing else was imported.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from db.errors import HowdahError
from db.settings import load_settings
from graph.commands import user

app = typer.Typer(
    name="howdah",
    help="A GraphQL server for people who work on PostgreSQL.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(user.app, name="user")

DataDir = Annotated[Path | None, typer.Option(help="The folder of all that is kept.")]


def main() -> NoReturn:
    """Run a command. What went wrong on purpose is told in two lines, without a traceback."""
    try:
        app()
    except HowdahError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)  # noqa: T201 - a command line speaks
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(1)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Migrate the database, then serve GraphQL until told to stop."""
    from graph.commands.serve import serve_until_stopped

    serve_until_stopped(load_settings(host=host, port=port, data_dir=data_dir))


@app.command()
def migrate(
    data_dir: DataDir = None,
    down: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Go back to an older revision.")
    ] = None,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail when something is to do.")
    ] = False,
) -> None:
    """Bring the database up to date; several at once do no harm."""
    from graph.commands.migrate import bring_up_to_date

    bring_up_to_date(load_settings(data_dir=data_dir), down=down, check=check)


@app.command()
def schema() -> None:
    """Print the GraphQL schema; needs no database."""
    from graph.commands.schema import print_schema

    print_schema()


@app.command()
def import_tasks(
    file: Annotated[Path, typer.Argument(help="The JSON file of the old console application.")],
    user: Annotated[str, typer.Option(metavar="EMAIL", help="Whose tasks they are to be.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; report.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Import old tasks; a second run changes nothing. Fails when a record is rejected."""
    from graph.commands.import_tasks import import_tasks

    settings = load_settings(data_dir=data_dir)
    if not import_tasks(settings, file, email=user, dry_run=dry_run):
        raise typer.Exit(1)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to make; none is overwritten.")],
    data_dir: DataDir = None,
) -> None:
    """Write every row, as of one moment, into one file; the server may go on meanwhile."""
    from graph.commands.backup import back_up

    back_up(load_settings(data_dir=data_dir), file)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `howdah backup` made.")],
    data_dir: DataDir = None,
) -> None:
    """Bring a backup into an empty database, and compare what is there with it."""
    from graph.commands.backup import bring_back

    bring_back(load_settings(data_dir=data_dir), file)


if __name__ == "__main__":
    main()
