"""Statements on the rows of all owners, for a backup and a restore."""

STORED = """
SELECT id, object_id, size, fingerprint, content_type, location
FROM files WHERE status = 'STORED' ORDER BY id
"""
COUNT_STORED = "SELECT count(*) FROM files WHERE status = 'STORED'"
STILL_STORED = """
SELECT id, object_id FROM files WHERE status = 'STORED' AND object_id = ANY($1) ORDER BY id
"""

HAS_USERS = """
SELECT EXISTS (SELECT FROM users WHERE email IS DISTINCT FROM $1 OR issuer IS NOT NULL)
"""
HAS_EVENTS = "SELECT EXISTS (SELECT FROM audit_events)"
REMOVE_USERS = "DELETE FROM users"
REMOVE_ATTEMPTS = "DELETE FROM rate_limits"
SET_EVENTS_ASIDE = """
CREATE TABLE earlier_audit_events AS SELECT * FROM audit_events;
DELETE FROM audit_events
"""
PUT_EVENTS_BACK = """
UPDATE audit_events SET position = 0;
INSERT INTO audit_events SELECT * FROM earlier_audit_events ON CONFLICT DO NOTHING;
DROP TABLE earlier_audit_events
"""
