from pathlib import Path

import pytest

from db.errors import BadInput
from db.settings import Settings, external_algorithms, load_settings


def test_settings_default_to_development() -> None:
    settings = load_settings({})
    assert settings.embedded
    assert settings.development
    assert settings.sign_up_open
    assert settings.introspection_allowed
    assert settings.data_dir.name == "howdah"


def test_settings_with_database_url_or_public_host_are_production() -> None:
    assert not load_settings({"DATABASE_URL": "postgres://db/x"}).development
    assert not load_settings({"HOWDAH_HOST": "0.0.0.0"}).development  # noqa: S104 - the case itself
    assert load_settings({"HOWDAH_HOST": "::1"}).development
    assert not load_settings({"HOWDAH_ENV": "production"}).sign_up_open


def test_settings_precedence_is_override_then_prefixed_then_common_name() -> None:
    environ = {"DATABASE_URL": "postgres://common/x", "HOWDAH_DATABASE_URL": "postgres://ours/x"}
    assert load_settings(environ).database_url == "postgres://ours/x"
    neon = {"NEON_DATABASE_URL": "postgres://neon/x"}
    assert load_settings(neon).database_url == "postgres://neon/x"
    assert load_settings(neon | {"DATABASE_URL": " "}).database_url == "postgres://neon/x"
    assert load_settings(neon | environ).database_url == "postgres://ours/x"
    del environ["HOWDAH_DATABASE_URL"]
    assert load_settings(neon | environ).database_url == "postgres://common/x"
    assert load_settings(environ, port=1).port == 1
    assert load_settings({"HOWDAH_PORT": "9"}, port=None).port == 9


def test_data_dir_expands_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert load_settings({"HOWDAH_DATA_DIR": "~/how dah"}).data_dir == Path("/home/ada/how dah")
    assert load_settings({}, data_dir=Path("here")).data_dir == Path("here")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HOWDAH_PORT", "eighty", "a whole number from 0 to 65,535"),
        ("HOWDAH_PORT", "70000", "a whole number from 0 to 65,535"),
        ("HOWDAH_PORT", "-1", "a whole number from 0 to 65,535"),
        ("HOWDAH_DATABASE_POOL_SIZE", "0", "a whole number from 2 to 1,000"),
        ("HOWDAH_DATABASE_POOL_SIZE", "1.5", "a whole number from 2 to 1,000"),
        ("HOWDAH_MAX_PAGE_SIZE", "10001", "a whole number from 1 to 10,000"),
        ("HOWDAH_RUN_MAX_ROWS", "9" * 30, "a whole number from 1 to"),
        ("HOWDAH_REFRESH_TOKEN_DAYS", "99999999", "a whole number from 1 to 36,500"),
        ("HOWDAH_STORAGE_FILES_PER_USER", "-1", "a whole number from 0 to"),
        ("HOWDAH_ENV", "staging", "`development` or `production`"),
        ("HOWDAH_LOG_LEVEL", "loud\nline", "`debug` or `error` or `info` or `warning`"),
        ("HOWDAH_INTROSPECTION", "perhaps", "`true` or `false`"),
    ],
)
def test_invalid_value_is_reported_in_one_line(name: str, value: str, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_settings({name: value})
    assert caught.value.message.startswith(f"{name} is {value!r}; it must be {expected}")
    assert len(caught.value.message.splitlines()) == 1
    assert name in caught.value.hint


def test_invalid_value_is_shortened_in_error() -> None:
    with pytest.raises(BadInput) as caught:
        load_settings({"HOWDAH_PORT": "x" * 10_000})
    assert len(caught.value.message) < 150


KEYS = {
    "HOWDAH_JWKS_URL": "https://issuer.example/keys",
    "HOWDAH_JWT_ISSUER": "issuer",
    "HOWDAH_JWT_AUDIENCE": "us",
}


@pytest.mark.parametrize("name", ["none", "None", "HS256,none", "HS1", "RS256,,", "ES256K"])
@pytest.mark.parametrize("others", [{}, KEYS], ids=["without keys", "with keys"])
def test_jwt_algorithms_refuse_unsafe_names(name: str, others: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="HOWDAH_JWT_ALGORITHMS names"):
        load_settings({"HOWDAH_JWT_ALGORITHMS": name, **others})


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"HOWDAH_JWT_ALGORITHMS": "none"}, "names 'none', which is never accepted"),
        ({"HOWDAH_JWT_ALGORITHMS": "RS256"}, "names RS256, for which there is no key"),
        ({"HOWDAH_JWT_ALGORITHMS": "HS256", **KEYS}, "names HS256, for which there is no key"),
        ({"HOWDAH_JWT_ISSUER": "issuer"}, "HOWDAH_JWT_ISSUER is set, but there is no key"),
        ({"HOWDAH_JWT_AUDIENCE": "us"}, "HOWDAH_JWT_AUDIENCE is set, but there is no key"),
        ({"HOWDAH_JWKS_URL": "https://issuer/keys"}, "but HOWDAH_JWT_ISSUER is not"),
        ({**KEYS, "HOWDAH_JWT_AUDIENCE": ""}, "but HOWDAH_JWT_AUDIENCE is not"),
        ({"HOWDAH_JWT_SECRET": "x" * 40}, "but HOWDAH_JWT_AUDIENCE is not"),
        ({**KEYS, "HOWDAH_JWT_REQUIRED_CLAIM": "groups"}, "does not name a claim and its value"),
        ({"HOWDAH_JWT_REQUIRED_CLAIM": "a=b"}, "HOWDAH_JWT_REQUIRED_CLAIM is set, but"),
        ({"HOWDAH_JWKS_URL": "http://issuer/keys"}, "HOWDAH_JWKS_URL is not an https address"),
        ({"HOWDAH_DIRECT_DATABASE_URL": "postgres://a/b"}, "but HOWDAH_DATABASE_URL is not"),
        ({"HOWDAH_READ_DATABASE_URLS": "postgres://a/b"}, "but HOWDAH_DATABASE_URL is not"),
    ],
)
def test_settings_refuse_incomplete_groups(environ: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_settings(environ)
    assert words in caught.value.message
    assert caught.value.hint


def test_settings_accept_external_issuer() -> None:
    settings = load_settings(
        {**KEYS, "HOWDAH_JWT_AUDIENCE": "us", "HOWDAH_JWT_ALGORITHMS": "RS256, EdDSA"}
    )
    assert external_algorithms(settings) == ("RS256", "EdDSA")
    assert external_algorithms(load_settings(KEYS)) == ("RS256", "ES256", "EdDSA")


def test_dotenv_file_is_read_in_development_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("HOWDAH_PORT=8123\n# comment\nHOWDAH_LOG_LEVEL='debug'\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).port == 8123
    assert load_settings({"HOWDAH_PORT": "9"}).port == 9
    assert load_settings({"HOWDAH_ENV": "production"}).port == Settings().port


def test_env_example_names_every_setting() -> None:
    example = Path(__file__).parents[3].joinpath(".env.example").read_text()
    missing = [
        name for name in Settings.__struct_fields__ if f"HOWDAH_{name.upper()}=" not in example
    ]
    assert missing == []
