"""Limits of documents and of the cost of operations, checked before validation."""

from graph.operations.limits.cost import CostProgram
from graph.operations.limits.document import Limits, read, refuse_cost, weigh

__all__ = ["CostProgram", "Limits", "read", "refuse_cost", "weigh"]
