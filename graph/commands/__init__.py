"""The work of the commands in `graph.commands.main`. Each command imports only its own module."""
