import secrets

import pytest

from db.errors import BadInput
from db.security.common_passwords import _digests, is_common
from db.security.passwords import checked_new_password, checked_password
from db.users import Identity, Role
from tests.fixtures.identity import PASSWORD, sign_up


def test_list_has_ten_thousand_sorted_digests() -> None:
    digests = _digests()
    parts = [digests[at : at + 5] for at in range(0, len(digests), 5)]
    assert len(digests) == 50_000
    assert parts == sorted(set(parts))


@pytest.mark.parametrize("password", ["12345678", "Password1", "QWERTYUIOP", "iloveyou"])
def test_common_password_is_found(password: str) -> None:
    assert is_common(password)
    with pytest.raises(BadInput) as caught:
        checked_new_password(password, field="newPassword")
    assert caught.value.field == "newPassword"
    assert password not in caught.value.message + caught.value.hint
    assert checked_password(password) == password  # who has one can still sign in


def test_other_password_is_not_found() -> None:
    for password in (PASSWORD, "\ud800 surrogates", *(secrets.token_hex(8) for _ in range(1_000))):
        assert not is_common(password)


async def test_common_password_is_refused_wherever_one_is_set(identity: Identity) -> None:
    common = "Sunshine1"
    assert is_common(common)
    ada = await sign_up(identity)
    reset = await identity.password_resets.create(ada.user.id)
    attempts = (
        identity.sign_up(email="bob@example.com", password=common, name="Bob", address=""),
        identity.change_password(ada.user.id, current=PASSWORD, new=common, address=""),
        identity.password_resets.use(reset.token, password=common, address=""),
        identity.create(email="eve@example.com", password=common, name="Eve", role=Role.USER),
    )
    for attempt in attempts:
        with pytest.raises(BadInput) as caught:
            await attempt
        assert "common" in caught.value.message
