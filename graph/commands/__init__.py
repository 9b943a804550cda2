"""What the commands of `graph.cli` do. Each module is loaded by its own command only."""
