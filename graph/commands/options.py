"""Options of several commands."""

from pathlib import Path

import click

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data folder. Defaults to HOWDAH_DATA_DIR.",
)
