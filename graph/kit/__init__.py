"""Building blocks of domains: fields, IDs, paging, scalars and loaders."""
