"""How much a request may ask for. Documents are weighed before they are validated."""

from graph.limits.cost import CostProgram
from graph.limits.document import Limits, read, refuse_cost, weigh

__all__ = ["CostProgram", "Limits", "read", "refuse_cost", "weigh"]
