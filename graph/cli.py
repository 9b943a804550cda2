"""`howdah`: the command line. Each command's work is a module of `graph.commands`, loaded for it.

`howdah --help` and a wrong option answer at once, because nothing else was imported.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from db.errors import HowdahError
from db.settings import load_settings

app = typer.Typer(
    name="howdah",
    help="A GraphQL server for people who work on PostgreSQL.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

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
    check: Annotated[  # noqa: FBT002 - typer makes an option of it
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


if __name__ == "__main__":
    main()
