"""Search over the names of a database, and completion of SQL that is being written."""
