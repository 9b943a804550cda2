"""Judges a history, by the methods of Elle for lists and registers (Kingsbury and Alvaro, 2020)."""

from tests.survival.history.cycles import cycle_anomalies, dependencies
from tests.survival.history.events import Anomaly, History
from tests.survival.history.lists import list_orders
from tests.survival.history.orders import aborted_reads
from tests.survival.history.registers import register_orders


def find_anomalies(history: History) -> list[Anomaly]:
    """What no execution of the transactions one after the other, in real time, explains.

    A transaction of unknown outcome may have happened once, at any time after it was sent.
    """
    of_lists, anomalies = list_orders(history)
    of_registers, more = register_orders(history)
    anomalies += more
    orders = of_lists + of_registers
    for order in orders:
        anomalies += aborted_reads(history, order)
    return anomalies + cycle_anomalies(history, dependencies(history, orders))
