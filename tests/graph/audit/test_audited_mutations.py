"""Every mutation is in the audit log, or is not for a reason. A new one has to decide."""

from collections.abc import Mapping
from typing import Any

from db.kit.audit import AuditKind
from graph.schema import schema
from tests.fixtures.architecture import ROOT

core: Any = schema._schema

AUDITED: dict[str, set[AuditKind]] = {
    "changePassword": {AuditKind.PASSWORD_CHANGED},
    "changeRows": {AuditKind.QUERY_RUN},
    "checkDatabase": {AuditKind.DATABASE_CHECKED},
    "closeSession": {AuditKind.DATABASE_SESSION_CLOSED},
    "commitTransaction": {AuditKind.QUERY_RUN},
    "connect": {AuditKind.CONNECTION_OPENED},
    "createAccessToken": {AuditKind.ACCESS_TOKEN_CREATED},
    "createBsp": {AuditKind.BSP_CREATED},
    "createPasswordReset": {AuditKind.PASSWORD_RESET_CREATED},
    "deleteBsp": {AuditKind.BSP_DELETED},
    "deleteBucket": {AuditKind.BUCKET_DELETED},
    "deleteConnection": {AuditKind.CONNECTION_DELETED},
    "deleteFile": {AuditKind.FILE_DELETED},
    "deleteQueryRun": {AuditKind.QUERY_RUN_DELETED},
    "disconnect": {AuditKind.CONNECTION_CLOSED},
    "endSession": {AuditKind.SESSION_ENDED},
    "executeQuery": {AuditKind.QUERY_RUN},
    "executeScript": {AuditKind.QUERY_RUN},
    "explainQuery": {AuditKind.QUERY_RUN},
    "exportQueryRun": {AuditKind.RESULT_EXPORTED},
    "importRows": {AuditKind.QUERY_RUN},
    "moveFile": {AuditKind.FILE_MOVED},
    "openSession": {AuditKind.DATABASE_SESSION_OPENED},
    "refreshSession": {AuditKind.REFRESH_TOKEN_REUSED},
    "requestPasswordReset": {AuditKind.PASSWORD_RESET_CREATED},
    "resetPassword": {AuditKind.PASSWORD_RESET},
    "revokeAccessToken": {AuditKind.ACCESS_TOKEN_REVOKED},
    "rollbackTransaction": {AuditKind.QUERY_RUN},
    "saveConnection": {AuditKind.CONNECTION_SAVED},
    "setBspMultiaddresses": {AuditKind.BSP_UPDATED},
    "signIn": {AuditKind.SIGN_IN},
    "signOut": {AuditKind.SIGN_OUT},
    "signUp": {AuditKind.SIGN_UP},
    "testConnection": {AuditKind.CONNECTION_TESTED},
    "updateBspCapacity": {AuditKind.BSP_UPDATED},
    "updateBucket": {AuditKind.BUCKET_UPDATED},
    "updateUser": {
        AuditKind.USER_RESUMED,
        AuditKind.USER_ROLE_CHANGED,
        AuditKind.USER_SUSPENDED,
    },
}
"""The kinds that each mutation records; test_audit_events.py sees them recorded."""

_TASKS = "a list that only its owner sees"
_SAVED = "a text that only its owner sees; each run of it is recorded"
NOT_AUDITED: dict[str, str] = {
    "cancelQuery": "the event of the run tells that it was cancelled",
    "cancelScript": "the events of its runs tell what was executed, and that one was cancelled",
    "createBucket": "it contains nothing; its files and changes are recorded",
    "createFile": "it contains nothing until the upload, which is recorded",
    "createTask": _TASKS,
    "deleteCompletedTasks": _TASKS,
    "deletePreference": "a setting of the user interface",
    "deleteSavedQuery": _SAVED,
    "deleteTask": _TASKS,
    "importSavedQueries": _SAVED,
    "importTasks": _TASKS,
    "refreshCatalogue": "it changes no data",
    "replaceFile": "the file stays as it is until the upload, which is recorded",
    "saveQuery": _SAVED,
    "setPreference": "a setting of the user interface",
    "toggleTask": _TASKS,
    "updateTask": _TASKS,
    "updateViewer": "the name is only shown",
}
"""Mutations without an event, with the reason."""

OTHER_KINDS = {
    AuditKind.BACKUP_RESTORED: "howdah restore",
    AuditKind.BACKUP_WRITTEN: "howdah backup",
    AuditKind.FILE_DOWNLOADED: "a signed link",
    AuditKind.FILE_UPLOADED: "a signed link",
    AuditKind.INSTALLATION_RENEWED: "howdah installation renew",
    AuditKind.KEYS_ROTATED: "howdah keys rotate",
    AuditKind.RESULT_DOWNLOADED: "a signed link",
    AuditKind.SESSIONS_ENDED: "howdah user sessions --end",
    AuditKind.USER_CREATED: "howdah user create, or an external issuer",
    AuditKind.USER_REMOVED: "howdah user remove",
}
"""Kinds of acts that are no mutations, with the act."""


def undecided(mutations: Mapping[str, object]) -> set[str]:
    return mutations.keys() - AUDITED.keys() - NOT_AUDITED.keys()


def test_every_mutation_is_audited_or_has_a_reason() -> None:
    mutations = core.mutation_type.fields
    assert not undecided(mutations), (
        "record an AuditKind (db/kit/audit) and add the mutation to AUDITED, or to NOT_AUDITED "
        f"with the reason: {sorted(undecided(mutations))}"
    )
    assert not AUDITED.keys() & NOT_AUDITED.keys()
    assert (AUDITED.keys() | NOT_AUDITED.keys()) <= mutations.keys()


def test_undecided_mutation_is_caught() -> None:
    assert undecided({"signIn": None, "launchRocket": None}) == {"launchRocket"}


def test_every_kind_is_of_a_mutation_or_another_act() -> None:
    of_mutations = set[AuditKind]().union(*AUDITED.values())
    assert of_mutations | OTHER_KINDS.keys() == set(AuditKind)
    assert not of_mutations & OTHER_KINDS.keys()


def test_page_lists_every_kind() -> None:
    page = (ROOT / "docs" / "audit.md").read_text("utf-8")
    assert [kind for kind in AuditKind if f"`{kind}`" not in page] == []
