"""`howdah schema`."""

import click

from graph.schema import schema


def print_schema() -> None:
    click.echo(schema.as_str())
