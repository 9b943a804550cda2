"""Runs GraphQL operations: a validated document is compiled once and then executed many times."""

from graph.executor.inputs.variables import TooManyInvalidValues
from graph.executor.plan import Plan, compile_plan

__all__ = ["Plan", "TooManyInvalidValues", "compile_plan"]
