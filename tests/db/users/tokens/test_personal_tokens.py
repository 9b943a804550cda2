import re

import pytest

from db.errors import Unauthenticated
from db.users import Identity
from db.users.tokens.personal_tokens import is_complete, is_personal, make_token, token_hash
from tests.fixtures.database import Statements


def test_token_has_the_form_that_scanners_look_for() -> None:
    made = [make_token() for _ in range(50)]
    assert len({new.text for new in made}) == 50
    for new in made:
        assert re.fullmatch(r"howdah_pat_[0-9A-Za-z]{38}", new.text)
        assert is_personal(new.text)
        assert is_complete(new.text)
        assert new.hash == token_hash(new.text)


def test_mistyped_token_is_incomplete() -> None:
    token = make_token().text
    for index, character in enumerate(token):
        other = "x" if character != "x" else "y"
        assert not is_complete(token[:index] + other + token[index + 1 :]), index
    for wrong in (token[:-1], token + "0", "howdah_pat_", token.lower(), token.swapcase()):
        assert not is_complete(wrong) or wrong == token


async def test_mistyped_token_is_refused_without_a_look_up(
    identity: Identity, statements: Statements
) -> None:
    with statements.expected(0), pytest.raises(Unauthenticated) as caught:
        await identity.verifier.verify(make_token().text[:-1])
    assert "checksum" in caught.value.message
    with statements.expected(1), pytest.raises(Unauthenticated) as caught:
        await identity.verifier.verify(make_token().text)
    assert "revoked" in caught.value.message
