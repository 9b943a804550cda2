"""Metrics of the server for Prometheus."""

from graph.server.metrics.metrics import Metrics

__all__ = ["Metrics"]
