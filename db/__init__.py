"""All state: rows, events, secrets and bytes. Independent of GraphQL and HTTP."""
