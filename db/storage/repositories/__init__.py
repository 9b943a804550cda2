"""Repositories of providers, buckets, files and replicas."""
