"""Statements of callers at the same time, sent as one."""
