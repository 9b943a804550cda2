"""Verifies tokens of an external issuer, and creates users from their claims."""

import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Self

import msgspec
from joserfc.jwk import OctKey

from db.errors import BadInput
from db.security.keys import checked_secret
from db.settings import SHARED_ALGORITHMS, Settings, external_algorithms, required_claim
from db.users.accounts import ExternalUser, canonical_email, name_rule
from db.users.tokens.key_sets import KeySet, VerifyingKey
from db.users.tokens.own_tokens import OURS
from db.users.tokens.signatures import verified_claims
from db.users.tokens.unverified_claims import InvalidToken, Seconds, decode_part

CLOCK_SKEW_S = 30
_WORD_CLAIMS = ("scope", "scp")  # words separated by spaces, RFC 8693


class ExternalClaims(msgspec.Struct, frozen=True):
    """Claims of an external token. Only those that affect the verification are validated."""

    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
    exp: Annotated[float, Seconds]
    iss: str | None = None
    aud: str | list[str] | None = None
    nbf: float = 0
    name: object = None
    preferred_username: object = None
    email: object = None
    email_verified: object = None


class ExternalIssuer:
    """Verifies tokens with published keys, a shared secret, or both."""

    def __init__(
        self,
        *,
        name: str | None,
        audience: str | None,
        required_claim: tuple[str, str] | None = None,
        algorithms: tuple[str, ...],
        published: KeySet | None,
        shared: OctKey | None,
    ) -> None:
        self._name = name
        self._audience = audience
        self._required_claim = required_claim
        self._algorithms = algorithms
        self._published = published
        self._shared = shared

    @classmethod
    def of(cls, settings: Settings, *, tls: ssl.SSLContext | None = None) -> Self:
        """Raises BadInput if the settings name our own issuer."""
        if settings.jwt_issuer == OURS:
            raise BadInput(
                f"HOWDAH_JWT_ISSUER is `{OURS}`, which is the issuer of Howdah's own tokens.",
                hint="Set the issuer of the external tokens.",
            )
        published = KeySet(settings.jwks_url, tls=tls) if settings.jwks_url else None
        return cls(
            name=settings.jwt_issuer,
            audience=settings.jwt_audience,
            required_claim=required_claim(settings),
            algorithms=external_algorithms(settings),
            published=published,
            shared=_shared(settings.jwt_secret),
        )

    async def verify(self, token: str, key_id: str | None) -> tuple[ExternalUser, datetime]:
        """Returns the user and the expiry of the token. Raises InvalidToken."""
        reason = InvalidToken("the issuer has no key for it")
        async for candidate in self._candidates(key_id):
            try:
                claims = verified_claims(token, candidate.key, candidate.algorithms, ExternalClaims)
            except InvalidToken as error:
                reason = error
            else:
                self._check(claims)
                self._check_required_claim(token)
                return self._person(claims), datetime.fromtimestamp(claims.exp, UTC)
        raise reason

    async def _candidates(self, key_id: str | None) -> AsyncIterator[VerifyingKey]:
        """Keys with their algorithms. The token cannot select an algorithm."""
        if self._shared is not None and "HS256" in self._algorithms:
            yield VerifyingKey(None, SHARED_ALGORITHMS, self._shared)
        if self._published is not None:
            for key in await self._published.matching(key_id):
                if key.algorithms[0] in self._algorithms:
                    yield key

    def _check(self, claims: ExternalClaims) -> None:
        now = time.time()
        audiences = claims.aud if isinstance(claims.aud, list) else [claims.aud]
        if self._name is not None and claims.iss != self._name:
            raise InvalidToken("it has another issuer")
        if self._audience is not None and self._audience not in audiences:
            raise InvalidToken("it has another audience")
        if claims.exp <= now:
            raise InvalidToken("it has expired")
        if claims.nbf > now + CLOCK_SKEW_S:
            raise InvalidToken("it is not valid yet")

    def _check_required_claim(self, token: str) -> None:
        """Accepts the value itself, a list that has it, and a `scope` that has it as a word."""
        if self._required_claim is None:
            return
        name, wanted = self._required_claim
        value = decode_part(token.split(".")[1], dict[str, object]).get(name)
        if name in _WORD_CLAIMS and isinstance(value, str):
            value = value.split()
        if wanted not in (value if isinstance(value, list) else [value]):
            raise InvalidToken(f"its claim {name} has not the required value")

    def _person(self, claims: ExternalClaims) -> ExternalUser:
        issuer = self._name or "shared secret"
        return ExternalUser(issuer, claims.sub, _email(claims), _name(claims))


def _shared(secret: str | None) -> OctKey | None:
    if secret is None:
        return None
    return OctKey.import_key(checked_secret(secret, name="HOWDAH_JWT_SECRET"))


def _email(claims: ExternalClaims) -> str | None:
    """The address, if the issuer has verified it."""
    if claims.email_verified is not True or not isinstance(claims.email, str):
        return None
    try:
        return canonical_email(claims.email)
    except BadInput:
        return None


def _name(claims: ExternalClaims) -> str:
    for name in (claims.name, claims.preferred_username):
        if isinstance(name, str):
            try:
                return name_rule.checked(name)
            except BadInput:
                continue
    return "Unnamed user"
