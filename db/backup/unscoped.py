"""Statements on the stored files of all owners, for a backup."""

STORED = """
SELECT id, object_id, size, fingerprint, content_type, location
FROM files WHERE status = 'STORED' ORDER BY id
"""
COUNT_STORED = "SELECT count(*) FROM files WHERE status = 'STORED'"
STILL_STORED = """
SELECT id, object_id FROM files WHERE status = 'STORED' AND object_id = ANY($1) ORDER BY id
"""
