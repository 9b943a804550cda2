"""The register model: the server numbers the values of a register, each with one version."""

from collections.abc import Iterator

from tests.survival.history.events import (
    Anomaly,
    History,
    Outcome,
    ReadRegister,
    Write,
)
from tests.survival.history.orders import KeyOrder, Read


class _Register:
    def __init__(self, key: str) -> None:
        self.key = key
        self.writers: dict[str, int] = {}
        self.versions: dict[int, dict[str, int]] = {}
        """The values seen under each version, with the first transaction that has seen it."""
        self.reads: list[tuple[int, int]] = []

    def note(self, version: int, value: str, transaction: int) -> None:
        self.versions.setdefault(version, {}).setdefault(value, transaction)

    def known_order(self) -> KeyOrder:
        """The versions with one value that a client wrote. Those between them are unknown."""
        known = [
            (version, self.writers[value])
            for version, values in sorted(self.versions.items())
            for value in values
            if len(values) == 1 and value in self.writers
        ]
        positions = {version: position for position, (version, _) in enumerate(known, 1)}
        reads = [
            Read(transaction, positions[version])
            for transaction, version in self.reads
            if version in positions
        ]
        return KeyOrder(self.key, [writer for _, writer in known], reads)

    def anomalies(self, history: History) -> Iterator[Anomaly]:
        versions_of: dict[str, int] = {}
        for version, values in self.versions.items():
            if len(values) > 1:
                seen = " and ".join(f"{value} in {history[at]}" for value, at in values.items())
                yield Anomaly("two values of one version", f"{self.key}@{version}: {seen}")
            for value, at in values.items():
                if value not in self.writers:
                    text = f"{self.key} had {value}, which no client wrote: {history[at]}"
                    yield Anomaly("garbage read", text)
                if versions_of.setdefault(value, version) != version:
                    text = f"{self.key} had {value} as {versions_of[value]}, then as {version}"
                    yield Anomaly("duplicated write", text)


def register_orders(history: History) -> tuple[list[KeyOrder], list[Anomaly]]:
    """The order of each register, and what contradicts it."""
    registers: dict[str, _Register] = {}
    anomalies: list[Anomaly] = []
    for number, transaction in enumerate(history):
        own: dict[str, str] = {}
        for step in transaction.steps:
            if not isinstance(step, Write | ReadRegister):
                continue
            register = registers.setdefault(step.key, _Register(step.key))
            if isinstance(step, Write):
                register.writers[step.value] = number
                own[step.key] = step.value
            if transaction.outcome is not Outcome.DONE:
                continue
            if own.get(step.key, step.value) != step.value:
                anomalies.append(Anomaly("own write not read", str(transaction)))
            if step.version is not None:
                register.note(step.version, step.value, number)
                if isinstance(step, ReadRegister) and step.key not in own:
                    register.reads.append((number, step.version))
    for each in registers.values():
        anomalies += each.anomalies(history)
    return [each.known_order() for each in registers.values()], anomalies
