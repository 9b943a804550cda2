"""Variables and arguments: from the JSON of a request to the values of a resolver."""
