"""Bytes over plain HTTP, by links that speak for themselves: users' files, results of runs."""
