"""Limits of documents and of the cost of operations, checked before validation."""

from graph.operations.limits.cost import CostProgram, refuse_cost
from graph.operations.limits.document_limits import RequestLimits, parse_document, weigh
from graph.operations.limits.result_limit import result_error

__all__ = ["CostProgram", "RequestLimits", "parse_document", "refuse_cost", "result_error", "weigh"]
