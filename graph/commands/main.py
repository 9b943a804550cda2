"""The `howdah` command line. Each command imports its module of `graph.commands` when it runs.

So `howdah --help` and usage errors load nothing else. uvicorn loads click anyway; typer would add
0.15 s and 23 MB to each start (docs/decisions/0006-click-for-the-command-line.md).
"""

import gc
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from db.errors import HowdahError
from db.settings import PREFIX, load_settings
from db.version import __version__
from graph.commands.options import data_dir_option
from graph.commands.process_exit import exit_process
from graph.commands.users.user_group import user_group


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def app() -> None:
    """Howdah: a GraphQL server for PostgreSQL users."""


def main() -> NoReturn:
    """Run a command, and end the process with its exit code."""
    try:
        run()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise
        exit_process(ended.code or 0)


def run() -> NoReturn:
    """Run a command. An expected error is printed as one line and a hint, without a traceback.

    All errors are one line of JSON if the log is set to JSON: a collector reads both.
    """
    try:
        sys.exit(app.main(prog_name="howdah", standalone_mode=False))
    except HowdahError as error:
        _fail(error.message, error.hint)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "howdah"
        _fail(error.format_message(), f"Run `{command} --help`.", code=error.exit_code)
    except click.Abort:
        _fail("The command was aborted.", "Run it again to start over.")
    except Exception as error:
        if not _is_json():
            raise
        _fail(f"The command failed: {type(error).__name__}.", "Report it as a bug.", error=error)


def _fail(message: str, hint: str, *, code: int = 1, error: Exception | None = None) -> NoReturn:
    if _is_json():
        from graph.server.logs import error_line

        click.echo(error_line("graph.commands.main", message, hint, error), err=True)
    else:
        click.echo(f"error: {message}\nhint: {hint}", err=True)
    sys.exit(code)


def _is_json() -> bool:
    """Read from the environment: the settings may be what is wrong."""
    return os.environ.get(f"{PREFIX}LOG_FORMAT", "").strip() == "json"


@app.command()
@click.option("--host", help="Address to listen on. Defaults to HOWDAH_HOST.")
@click.option(
    "--port", type=int, help="Port to listen on; 0 selects a free one. Defaults to HOWDAH_PORT."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Number of server processes.",
)
@data_dir_option
def serve(host: str | None, port: int | None, workers: int, data_dir: Path | None) -> None:
    """Serve GraphQL until SIGTERM or Ctrl+C. Applies pending migrations first."""
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    gc.disable()  # the objects of the start stay; graph.server.uvicorn_server enables it again
    if workers == 1:
        from graph.commands.serving.serve import serve_until_stopped

        serve_until_stopped(settings)
    else:
        from graph.commands.serving.workers import serve_with_workers

        serve_with_workers(settings, workers)


@app.command()
@click.option(
    "--port", type=int, help="Port to listen on; 0 selects a free one. Defaults to HOWDAH_PORT."
)
@click.option("--reset", is_flag=True, help="Delete the data of the demo and begin anew.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data folder. Defaults to one of its own: `howdah serve` does not use it.",
)
def demo(*, port: int | None, reset: bool, data_dir: Path | None) -> None:
    """Serve with a sample database and example data, on this machine only.

    The local admin has a saved connection to the database of a shop, tasks, and a bucket with
    files. Changes are kept for the next start.
    """
    from graph.commands.serving.demo import serve_demo

    gc.disable()  # as in `howdah serve`
    serve_demo(data_dir, port=port, reset=reset)


@app.command()
@click.option("--down", metavar="REVISION", help="Downgrade to REVISION, or to `base`.")
@click.option("--yes", is_flag=True, help="Confirm that --down deletes data.")
@click.option("--check", is_flag=True, help="Change nothing; fail if migrations are pending.")
@data_dir_option
def migrate(*, down: str | None, yes: bool, check: bool, data_dir: Path | None) -> None:
    """Apply pending migrations. Several processes may run it concurrently.

    A downgrade prints the rows and values that it deletes, and needs --yes.
    """
    from graph.commands.database.migrate import run_migrations

    run_migrations(load_settings(data_dir=data_dir), down=down, check=check, yes=yes)


@app.command()
def schema() -> None:
    """Print the GraphQL schema. Needs no database."""
    from graph.schema import schema as built

    click.echo(built.as_str())


@app.command()
@data_dir_option
def doctor(data_dir: Path | None) -> None:
    """Check everything that a server needs.

    Prints the settings and a hint for each problem, and changes nothing. Exits with code 1 if a
    check fails.
    """
    from graph.commands.doctor import run_checks

    if not run_checks(data_dir=data_dir):
        sys.exit(1)


app.add_command(user_group)


@app.group()
def keys() -> None:
    """Manage the credential key."""


@keys.command()
@data_dir_option
def rotate(data_dir: Path | None) -> None:
    """Seal all stored secrets again with the current credential key."""
    from graph.commands.database.keys import rotate_keys

    rotate_keys(load_settings(data_dir=data_dir))


@app.group()
def installation() -> None:
    """Show or renew the installation that the database belongs to."""


@installation.command()
@data_dir_option
def show(data_dir: Path | None) -> None:
    """Print the ID of the installation, and whether the database is a copy."""
    from graph.commands.database.installation import show_installation

    show_installation(load_settings(data_dir=data_dir))


@installation.command()
@data_dir_option
def renew(data_dir: Path | None) -> None:
    """Make the database another installation, before it is served beside its original.

    Only for a copy that has the system identifier of its original: a disk snapshot, or a standby
    that was promoted for tests. Others are recognized at the start. Ends in the rows what was
    active, and touches no other database.
    """
    from graph.commands.database.installation import renew_installation

    renew_installation(load_settings(data_dir=data_dir))


@app.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--user", metavar="EMAIL", required=True, help="E-mail address of the owner of the tasks."
)
@click.option("--dry-run", is_flag=True, help="Change nothing; print the report only.")
@data_dir_option
def import_tasks(file: Path, user: str, *, dry_run: bool, data_dir: Path | None) -> None:
    """Import tasks from a JSON file.

    FILE is a file of the old console application. Tasks that were imported before are left
    unchanged. Exits with code 1 if a record is rejected.
    """
    from graph.commands.import_tasks import import_tasks

    if not import_tasks(load_settings(data_dir=data_dir), file, email=user, dry_run=dry_run):
        sys.exit(1)


@app.command()
@click.option(
    "--since", metavar="TIME", help="Only events since a time, or a span such as 30m, 2h or 7d."
)
@click.option("--user", metavar="USER", help="Only events of a user: e-mail address or ID.")
@click.option("--kind", "kinds", metavar="KIND", multiple=True, help="Only this kind; repeatable.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="Print at most this many of the newest events.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
@click.option("--follow", is_flag=True, help="Then print new events until Ctrl+C.")
@data_dir_option
def audit(
    *,
    since: str | None,
    user: str | None,
    kinds: tuple[str, ...],
    limit: int,
    as_json: bool,
    follow: bool,
    data_dir: Path | None,
) -> None:
    """Print the audit log: who did what, from where, oldest first."""
    from graph.commands.audit import parse_filters, print_audit_log

    filters = parse_filters(since=since, user=user, kinds=kinds)
    settings = load_settings(data_dir=data_dir)
    print_audit_log(settings, filters, limit=limit, as_json=as_json, follow=follow)


@app.command()
@click.argument("file", type=click.Path(path_type=Path))
@data_dir_option
def backup(file: Path, data_dir: Path | None) -> None:
    """Write all rows and files to a new FILE. The server may keep running.

    Exits with code 1 if the object store has lost the bytes of a file.
    """
    from graph.commands.database.backup import write_backup

    if not write_backup(load_settings(data_dir=data_dir), file):
        sys.exit(1)


@app.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--accept-unverified",
    is_flag=True,
    help="Restore a backup that is unsigned or was signed by another installation. Its author "
    "chooses the accounts, passwords and admins of this server.",
)
@data_dir_option
def restore(file: Path, *, accept_unverified: bool, data_dir: Path | None) -> None:
    """Restore a backup FILE into a database without users, and verify it.

    The signature of FILE is verified with the credential keys of this installation.
    """
    from graph.commands.database.backup import restore_backup

    settings = load_settings(data_dir=data_dir)
    restore_backup(settings, file, accept_unverified=accept_unverified)


if __name__ == "__main__":
    main()
