"""`howdah schema`."""

import sys

from graph.schema import schema


def print_schema() -> None:
    """The SDL, as `schema.graphql` holds it."""
    sys.stdout.write(schema.as_str() + "\n")
