"""How much a request may ask for. Documents are weighed before they are validated."""

from graph.operations.limits.cost import CostProgram
from graph.operations.limits.document import Limits, read, refuse_cost, weigh

__all__ = ["CostProgram", "Limits", "read", "refuse_cost", "weigh"]
