"""Building blocks of repositories: base classes, paging, idempotency, sweeps and text rules."""
