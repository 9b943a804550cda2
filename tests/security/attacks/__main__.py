"""Attacks on a served Howdah, in their long form: what is promised, and what was measured.

make attack                    about five minutes; let nothing else run meanwhile
make attack ARGS="--quick"     small, without a verdict

Servers that a user connects to, then floods by strangers. `make bench-flood` has those of a user.
"""

from collections.abc import Awaitable, Callable

from bench import flood
from bench.desk import Desk, at_a_desk, machine
from bench.flood_measure import HEADER
from bench.verdict import judge
from tests.security.attacks import servers
from tests.security.attacks.figures import MB, Figure, Size

FULL = Size(cell_bytes=1_000_000_000, ssh_servers=16, postgres_servers=3)
QUICK = Size(cell_bytes=50 * MB, ssh_servers=2, postgres_servers=1)
ATTACKS: list[Callable[[Desk, Size], Awaitable[list[Figure]]]] = [
    servers.read_huge_cells,
    servers.flood_tunnels,
    servers.start_without_end,
    servers.answer_without_end,
]


def main() -> None:
    judge(__doc__, attack, FULL, QUICK)


async def attack(size: Size) -> list[str]:
    """Returns the promises that were broken."""
    broken = await attack_by_servers(size)
    print(f"\n{HEADER}")  # noqa: T201
    broken += await flood.by_strangers(flood.QUICK if size is QUICK else flood.FULL)
    print(f"\nbroken: {', '.join(broken)}" if broken else "\nall promises are kept")  # noqa: T201
    return broken


async def attack_by_servers(size: Size) -> list[str]:
    broken = []
    async with at_a_desk() as desk:
        print(f"{machine(desk.target)}\n\n{'':52}{'promise':>12}{'measured':>12}")  # noqa: T201
        for run in ATTACKS:
            for name, promise, measured, unit in await run(desk, size):
                verdict = "" if measured < promise else "   MISSED"
                print(  # noqa: T201
                    f"{name:52}{promise:8.1f} {unit:3}{measured:8.1f} {unit:3}{verdict}", flush=True
                )
                if verdict:
                    broken.append(name.strip())
    return broken


if __name__ == "__main__":
    main()
