"""Runs GraphQL operations: a validated document is compiled once and then executed many times."""

from graph.executor.document import Operation, fields_below
from graph.executor.execute.run import Field, ResolveInfo, ResultTooLarge
from graph.executor.inputs.variables import InvalidVariable, TooManyInvalidValues
from graph.executor.plan import Plan, compile_plan

__all__ = [
    "Field",
    "InvalidVariable",
    "Operation",
    "Plan",
    "ResolveInfo",
    "ResultTooLarge",
    "TooManyInvalidValues",
    "compile_plan",
    "fields_below",
]
