"""The users' databases: which may be reached, how they are reached, and what is lent of them.

targets       the addresses that may be reached
destinations  where a saved connection leads, with its secrets
libpq         one connection, with nothing of this server's account in it
tunnels       the way through an SSH server
road          the way to one destination, tunnel and certificates included
breaker       sparing what does not answer
awake         psycopg's pool, made to say what fails
pools         connections lent and taken back, clean
workbench     Workbench: everybody's pools, opened and closed
shelf         connections saved and deleted, with secrets and pool
catalogue     what is in a database
failures      what went wrong, in words

`Workbench` is imported without the drivers: they come with the first connection.
"""

from db.workbench.connections.network_policy import Reach, Targets
from db.workbench.connections.saved_connections import Shelf
from db.workbench.connections.values import ActivePool, Limits, Problem, Trial
from db.workbench.connections.workbench import Workbench

__all__ = ["ActivePool", "Limits", "Problem", "Reach", "Shelf", "Targets", "Trial", "Workbench"]
