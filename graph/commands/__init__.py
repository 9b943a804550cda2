"""What the commands of `graph.commands.main` do. Each module is loaded by its own command only."""
