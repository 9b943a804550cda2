"""Digests of the settings that all replicas of a server must share. They reveal no value."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from db.errors import BadInput
from db.kit.live_processes import SILENT_AFTER
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.replicas.repository import ReplicaProcesses
from db.security.keys import Keys, SecretKey
from db.settings import PREFIX

Fingerprints = Mapping[str, str]
"""Digests by the name of the setting; that of a credential key also has the ID of the key."""

_CREDENTIAL_KEY = "credential_key/"
_ALIASES = {"rediss": "redis", "postgresql": "postgres"}
_ROTATES = "secret_key"
"""Replicas have different ones while they are restarted with a new one, one after the other."""


class Difference(NamedTuple):
    """A setting whose value is not the same at another replica."""

    name: str
    host: str
    """Host name of the other replica."""

    @property
    def setting(self) -> str:
        return PREFIX + self.name.partition("/")[0].upper()

    @property
    def fault(self) -> str:
        return f"{self.setting} is not the same at another replica."


async def take_fingerprints(
    keys: Keys, objects: ObjectStore, events_url: str | None
) -> Fingerprints:
    """Digests of the keys, the object store and the event bus of this process."""
    found = {"secret_key": _key_digest(keys.secret)}
    for key_id, key in keys.credentials.keys.items():
        found[_CREDENTIAL_KEY + key_id] = _key_digest(SecretKey(key))
    found["events_url"] = _digest(_events_place(events_url))
    if (place := await objects.identify()) is not None:
        found["objects_url"] = _digest(place)
    return found


async def find_differences(database: Database, own: Fingerprints) -> list[Difference]:
    """The differences from each live replica, one for each setting."""
    async with database.read(reserved=True) as session:
        live = await ReplicaProcesses(session).list_live()
    found = {
        difference.setting: difference
        for replica in live
        for difference in (
            Difference(name, replica.host) for name in _differing(own, replica.fingerprints)
        )
    }
    return [found[setting] for setting in sorted(found)]


def is_fatal(difference: Difference) -> bool:
    """Whether users would get other data, or stale data, from a process with this difference."""
    return difference.name != _ROTATES


async def refuse_differences(database: Database, own: Fingerprints) -> None:
    """Raises BadInput if a difference is fatal."""
    for difference in filter(is_fatal, await find_differences(database, own)):
        raise BadInput(
            f"{difference.setting} is not the same as at the replica on {difference.host}.",
            hint="Set the same value on all replicas; a folder for objects must be shared by all. "
            "To change it, stop all replicas first: one that was killed counts for "
            f"{SILENT_AFTER.total_seconds():.0f} s.",
        )


def _differing(own: Fingerprints, other: Fingerprints) -> list[str]:
    """Settings that only one of them has are no difference: it may be of another version."""
    found = [name for name in own.keys() & other.keys() if own[name] != other[name]]
    keys = [{name for name in each if name.startswith(_CREDENTIAL_KEY)} for each in (own, other)]
    if all(keys) and keys[0].isdisjoint(keys[1]):
        found.append(_CREDENTIAL_KEY)
    return found


def _events_place(url: str | None) -> str:
    """Kind, hosts and path; the database itself is the same for all that see each other here."""
    if url is None:
        return "postgres"
    scheme = url.partition(":")[0].partition("+")[0]
    parts = [urlsplit(one if "://" in one else f"//{one}") for one in url.split(",")]
    hosts = sorted(part.netloc.rpartition("@")[2].lower() for part in parts)
    return " ".join((_ALIASES.get(scheme, scheme), *hosts, parts[-1].path.rstrip("/")))


def _key_digest(key: SecretKey) -> str:
    return key.derive("fingerprint")[:8].hex()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
