"""Checks that all servers give the same answers; otherwise their speeds are not comparable."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from bench.cases import Case
from bench.clients import answer_to
from bench.peers import Peer

CHANGING = {"id", "createdAt", "updatedAt"}


async def compare(started: Sequence[Peer], case: Case) -> None:
    """Sends one request to each server; changes use a different row for each."""
    said = {}
    for number, peer in enumerate(started):
        request = peer.requests(case)[number if case.changes else 0]
        answer = json.loads(await answer_to(peer.url, request))
        said[peer.name] = _alike(answer, dropped=CHANGING if case.changes else set())
    first, *others = said.values()
    if any(other != first for other in others):
        shown = "\n".join(f"{name}: {str(answer)[:1_000]}" for name, answer in said.items())
        raise SystemExit(f"{case.name}: the answers differ\n{shown}")


def _alike(value: Any, *, dropped: set[str], name: str = "") -> Any:
    """Removes what must differ; strips ID prefixes and parses times."""
    if isinstance(value, dict):
        return {
            key: _alike(inner, dropped=dropped, name=key)
            for key, inner in value.items()
            if key not in dropped
        }
    if isinstance(value, list):
        return [_alike(inner, dropped=dropped, name=name) for inner in value]
    if name == "id":
        return UUID(value.rpartition("_")[2])
    if name.endswith("At") and value is not None:
        return datetime.fromisoformat(value)
    return value
