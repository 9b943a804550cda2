"""Imports every table, so that the metadata for alembic is complete: one line for each domain."""

import db.audit
import db.connections
import db.database_sessions
import db.installation
import db.kit.audit
import db.kit.idempotency
import db.replicas
import db.runs
import db.saved_queries
import db.scripts
import db.storage
import db.system.integrity
import db.tasks
import db.users
from db.kit.base import Base

metadata = Base.metadata
