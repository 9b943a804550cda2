"""Access to the users' databases.

connections     pools, SSH tunnels, the network policy, and the secrets of saved connections
execution       query runs: scheduling, execution, cancellation and live status
sessions        connections that users hold across requests, and the runs in them
results         stored results: pages and file formats
catalogue       schemas, tables and columns of a database
exports         writes the result of a run to a file in a bucket
result_cleanup  deletes expired runs and orphaned results

Importing this package loads no driver: psycopg is imported with the first connection.
"""

from db.workbench.connections.saved_connections import SavedConnections
from db.workbench.connections.targets.network_policy import Reach, Targets
from db.workbench.connections.values import ActivePool, Limits, ProbeResult, Problem
from db.workbench.connections.workbench import Workbench

__all__ = [
    "ActivePool",
    "Limits",
    "ProbeResult",
    "Problem",
    "Reach",
    "SavedConnections",
    "Targets",
    "Workbench",
]
