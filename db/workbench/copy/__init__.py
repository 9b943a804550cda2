"""COPY over the connection of a run: its data as a result, and data from a file or a script."""
