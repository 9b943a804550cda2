from typing import Any

from db.services import Services
from tests.fixtures.clients import Client

HEALTH = """{ health {
  status version uptimeSeconds findings
  database { ok version latencyMs migrationsCurrent }
  events { ok kind }
} }"""
STATE = "ok checksums corruptRelations sizeBytes lastCheckedAt findings"


async def health(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = (await client.ask(HEALTH))["health"]
    return found


async def test_health_shows_status_to_anyone(anonymous: Client, ada: Client) -> None:
    found = await health(anonymous)
    assert found == await health(ada) | {"uptimeSeconds": found["uptimeSeconds"]}
    assert found["status"] == "OK"
    assert found["version"]
    assert found["uptimeSeconds"] >= 0
    assert found["database"] == {
        "ok": True,
        "version": None,
        "latencyMs": None,
        "migrationsCurrent": None,
    }
    assert found["events"] == {"ok": True, "kind": None}
    assert found["findings"] is None


async def test_health_checks_object_store(anonymous: Client, admin: Client) -> None:
    asked = "{ health { objects { ok kind } } }"
    assert await anonymous.ask(asked) == {"health": {"objects": {"ok": True, "kind": None}}}
    assert await admin.ask(asked) == {"health": {"objects": {"ok": True, "kind": "file"}}}


async def test_health_shows_details_to_admins(admin: Client) -> None:
    found = await health(admin)
    assert found["database"]["version"].startswith("18")
    assert found["database"]["latencyMs"] > 0
    assert found["database"]["migrationsCurrent"] is True
    assert found["events"]["kind"] == "postgres"
    assert found["findings"] == []


async def test_log_directory_requires_admin(
    admin: Client, ada: Client, anonymous: Client, services: Services
) -> None:
    document = "{ logDirectory }"
    assert await admin.ask(document) == {"logDirectory": str(services.settings.log_dir)}
    assert (await ada.send(document)).code == "FORBIDDEN"
    assert (await anonymous.send(document)).code == "UNAUTHENTICATED"


async def test_check_database_requires_admin(admin: Client, ada: Client, anonymous: Client) -> None:
    query = f"{{ databaseHealth {{ {STATE} }} }}"
    mutation = f"mutation {{ checkDatabase {{ databaseHealth {{ {STATE} }} }} }}"
    for document in (query, mutation):
        assert (await ada.send(document)).code == "FORBIDDEN"
        assert (await anonymous.send(document)).code == "UNAUTHENTICATED"
    before = (await admin.ask(query))["databaseHealth"]
    assert before["lastCheckedAt"] is None
    checked = (await admin.ask(mutation))["checkDatabase"]["databaseHealth"]
    assert checked["ok"] is True
    assert checked["corruptRelations"] == []
    assert int(checked["sizeBytes"]) > 0
    after = (await admin.ask(query))["databaseHealth"]
    assert after["lastCheckedAt"] == checked["lastCheckedAt"]
