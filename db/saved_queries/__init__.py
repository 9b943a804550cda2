"""Saved queries: statements that a user keeps, with parameters, folders and earlier versions."""

from db.saved_queries.arguments import bind_arguments
from db.saved_queries.repository import SavedQueries, size_of
from db.saved_queries.rows import (
    QueryFolderRow,
    SavedCall,
    SavedQueryFilter,
    SavedQueryRow,
    SavedVersionRow,
)
from db.saved_queries.rules import SavedParameter, decode_parameters
from db.saved_queries.sql_file import RejectedQuery, format_queries
from db.saved_queries.sql_import import SavedQueryImport, import_queries
from db.saved_queries.versions import SavedVersions

__all__ = [
    "QueryFolderRow",
    "RejectedQuery",
    "SavedCall",
    "SavedParameter",
    "SavedQueries",
    "SavedQueryFilter",
    "SavedQueryImport",
    "SavedQueryRow",
    "SavedVersionRow",
    "SavedVersions",
    "bind_arguments",
    "decode_parameters",
    "format_queries",
    "import_queries",
    "size_of",
]
