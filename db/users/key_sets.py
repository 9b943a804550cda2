"""The keys of an outside issuer: fetched over https, kept, and used on when it is down."""

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
from db.users.signatures import Key

log = logging.getLogger(__name__)

FRESH_S = 600.0
AGAIN_S = 30.0
TIMEOUT_S = 5.0
LARGEST = 256 * 1024


class VerifyingKey(NamedTuple):
    """A public key, and the algorithms that it, not the token, decides on."""

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
    """Asks the issuer again when a key is unknown or the set is old, but seldom."""

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
        self._fetched_at = self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def matching(self, key_id: str | None) -> Sequence[VerifyingKey]:
        """The keys a token of this `kid` may be signed by: a choice among the issuer's, no more."""
        old = self._clock() - self._fetched_at > FRESH_S
        known = self._known(key_id)
        if known and (not old or self._asking.locked()):
            return known
        await self._ask()
        return self._known(key_id)

    def _known(self, key_id: str | None) -> Sequence[VerifyingKey]:
        return [key for key in self._keys if key_id in (None, key.key_id)]

    async def _ask(self) -> None:
        async with self._asking:
            if self._clock() - self._asked_at >= AGAIN_S:
                self._asked_at = self._clock()
                await self._fetch()
        if not self._keys:
            raise Unavailable(
                "The issuer of this token does not answer with its keys.",
                hint="Try again in half a minute; the operator finds the reason in the log.",
                retry_after_s=AGAIN_S,
            )

    async def _fetch(self) -> None:
        try:
            document = await self._download()
            self._keys = usable_keys(document)
            self._fetched_at = self._clock()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("the keys at %s cannot be read, the old ones stay: %r", self._url, error)

    async def _download(self) -> bytes:
        import httpx

        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                httpx.AsyncClient(verify=self._tls or True) as client,
                client.stream("GET", self._url) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise OSError(f"the answer was {response.status_code}")
                return await _limited(response.aiter_bytes())
        except httpx.HTTPError as error:
            raise OSError(str(error) or type(error).__name__) from error


def usable_keys(document: bytes) -> list[VerifyingKey]:
    """Those for signatures, strong enough; the others are left out, as if they were not there."""
    found = []
    for raw in msgspec.json.decode(document, type=_Document).keys:
        try:
            key = _usable(msgspec.json.decode(raw, type=_Jwk))
        except (JoseError, ValueError, TypeError) as error:
            log.warning("a key of the issuer is left out: %s", type(error).__name__)
        else:
            found += [] if key is None else [key]
    return found


def _usable(jwk: _Jwk) -> VerifyingKey | None:
    for_signatures = jwk.use == "sig" or (jwk.use is None and "verify" in (jwk.key_ops or ()))
    if not for_signatures:
        return None
    match jwk.kty, jwk.crv:
        case "RSA", _ if _bits(jwk.n) >= 2048:
            rsa = RSAKey.import_key({"kty": "RSA", "n": jwk.n, "e": jwk.e})
            return _deciding(jwk, rsa, "RS256")
        case "EC", "P-256":
            ec = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": jwk.x, "y": jwk.y})
            return _deciding(jwk, ec, "ES256")
        case "OKP", "Ed25519":
            okp = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk.x})
            return _deciding(jwk, okp, "EdDSA", "Ed25519")
    return None


def _deciding(jwk: _Jwk, key: Key, *algorithms: str) -> VerifyingKey | None:
    said = jwk.alg is None or jwk.alg in algorithms
    return VerifyingKey(jwk.kid, algorithms, key) if said else None


def _bits(number: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(number + "=="), "big").bit_length()


async def _limited(chunks: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) > LARGEST:
            raise ValueError(f"the answer has more than {LARGEST} bytes")
    return body
