"""What an attack measures, and the sizes of its two forms."""

from typing import NamedTuple

MB = 1_000_000


class Size(NamedTuple):
    """`postgres_servers` is the number of rounds of each behaviour."""

    cell_bytes: int
    ssh_servers: int
    postgres_servers: int


class Figure(NamedTuple):
    """A measured figure, which must be below its promise."""

    name: str
    promise: float
    measured: float
    unit: str
