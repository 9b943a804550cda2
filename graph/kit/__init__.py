"""What domains are declared with: fields, ids, paging, scalars and loaders."""
