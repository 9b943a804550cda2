"""Published keys of an external issuer: fetched over https, cached, and used while it is down."""

import asyncio
import base64
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from db.errors import Unavailable
from db.users.tokens.signatures import Key

log = logging.getLogger(__name__)

MAX_AGE_S = 600.0
RETRY_AFTER_S = 30.0
TIMEOUT_S = 5.0
MAX_BYTES = 256 * 1024


class VerifyingKey(NamedTuple):
    """A public key with its algorithms, which the token cannot choose."""

    key_id: str | None
    algorithms: tuple[str, ...]
    key: Key


class _Jwk(msgspec.Struct):
    kty: str
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    kid: str | None = None
    crv: str | None = None
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""


class _Document(msgspec.Struct):
    keys: list[msgspec.Raw]


class KeySet:
    """Fetches keys again if one is unknown or the set is old, at most every RETRY_AFTER_S."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._tls = tls
        self._clock = clock
        self._keys: Sequence[VerifyingKey] = ()
        self._fetched_at = self._attempted_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def matching(self, key_id: str | None) -> Sequence[VerifyingKey]:
        """Keys with this `kid`, or all keys if the token has none."""
        old = self._clock() - self._fetched_at > MAX_AGE_S
        known = self._known(key_id)
        if known and (not old or self._fetching is not None):
            return known
        await self._refresh()
        return self._known(key_id)

    def _known(self, key_id: str | None) -> Sequence[VerifyingKey]:
        return [key for key in self._keys if key_id in (None, key.key_id)]

    async def _refresh(self) -> None:
        """Callers share an attempt, which does not end with the request that has begun it."""
        if self._fetching is None and self._clock() - self._attempted_at >= RETRY_AFTER_S:
            self._attempted_at = self._clock()
            self._fetching = asyncio.create_task(self._fetch())
        if self._fetching is not None:
            await asyncio.shield(self._fetching)
        if not self._keys:
            raise Unavailable(
                "The keys of the token's issuer cannot be fetched.",
                hint="Try again in half a minute. The log of the server contains the reason.",
                retry_after_s=RETRY_AFTER_S,
            )

    async def _fetch(self) -> None:
        try:
            document = await self._download()
            self._keys = usable_keys(document)
            self._fetched_at = self._clock()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning(
                "the keys at %s cannot be fetched, using the cached ones: %r", self._url, error
            )
        finally:
            self._fetching = None

    async def _download(self) -> bytes:
        import httpx

        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                httpx.AsyncClient(verify=self._tls or True) as client,
                client.stream("GET", self._url) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise OSError(f"the status was {response.status_code}")
                return await _read_limited(response.aiter_bytes())
        except httpx.HTTPError as error:
            raise OSError(str(error) or type(error).__name__) from error


def usable_keys(document: bytes) -> list[VerifyingKey]:
    """The keys for signatures that are strong enough. Other keys are ignored."""
    keys = []
    for raw in msgspec.json.decode(document, type=_Document).keys:
        try:
            key = _usable(msgspec.json.decode(raw, type=_Jwk))
        except (JoseError, ValueError, TypeError) as error:
            log.warning("a key of the issuer is ignored: %s", type(error).__name__)
        else:
            keys += [] if key is None else [key]
    return keys


def _usable(jwk: _Jwk) -> VerifyingKey | None:
    for_signatures = jwk.use == "sig" or (jwk.use is None and "verify" in (jwk.key_ops or ()))
    if not for_signatures:
        return None
    match jwk.kty, jwk.crv:
        case "RSA", _ if _bits(jwk.n) >= 2048:
            rsa = RSAKey.import_key({"kty": "RSA", "n": jwk.n, "e": jwk.e})
            return _verifying_key(jwk, rsa, "RS256")
        case "EC", "P-256":
            ec = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": jwk.x, "y": jwk.y})
            return _verifying_key(jwk, ec, "ES256")
        case "OKP", "Ed25519":
            okp = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk.x})
            return _verifying_key(jwk, okp, "EdDSA", "Ed25519")
    return None


def _verifying_key(jwk: _Jwk, key: Key, *algorithms: str) -> VerifyingKey | None:
    allowed = jwk.alg is None or jwk.alg in algorithms
    return VerifyingKey(jwk.kid, algorithms, key) if allowed else None


def _bits(number: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(number + "=="), "big").bit_length()


async def _read_limited(chunks: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_BYTES:
            raise ValueError(f"the response has more than {MAX_BYTES} bytes")
    return body
