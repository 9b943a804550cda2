"""Metrics of the server for Prometheus."""

from graph.server.metrics.page import Metrics
from graph.server.metrics.workers import share_metrics

__all__ = ["Metrics", "share_metrics"]
