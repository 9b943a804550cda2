from pathlib import Path

import pytest

from db.errors import BadInput
from db.settings import Settings, load_settings


def test_a_bare_environment_is_a_laptop() -> None:
    settings = load_settings({})
    assert settings.embedded
    assert settings.development
    assert settings.sign_up_open
    assert settings.introspection_allowed
    assert settings.data_dir.name == "howdah"


def test_a_database_url_or_an_open_port_is_production() -> None:
    assert not load_settings({"DATABASE_URL": "postgres://db/x"}).development
    assert not load_settings({"HOWDAH_HOST": "0.0.0.0"}).development  # noqa: S104 - the case itself
    assert load_settings({"HOWDAH_HOST": "::1"}).development
    assert not load_settings({"HOWDAH_ENV": "production"}).sign_up_open


def test_our_name_wins_over_the_common_one_and_the_command_line_over_both() -> None:
    environ = {"DATABASE_URL": "postgres://common/x", "HOWDAH_DATABASE_URL": "postgres://ours/x"}
    assert load_settings(environ).database_url == "postgres://ours/x"
    assert load_settings(environ, port=1).port == 1
    assert load_settings({"HOWDAH_PORT": "9"}, port=None).port == 9


def test_the_data_folder_is_a_path_with_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert load_settings({"HOWDAH_DATA_DIR": "~/how dah"}).data_dir == Path("/home/ada/how dah")
    assert load_settings({}, data_dir=Path("here")).data_dir == Path("here")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOWDAH_PORT", "eighty"),
        ("HOWDAH_PORT", "70000"),
        ("HOWDAH_MAX_PAGE_SIZE", "10001"),
        ("HOWDAH_ENV", "staging"),
        ("HOWDAH_INTROSPECTION", "perhaps"),
        ("HOWDAH_JWKS_URL", "http://issuer/keys"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_a_hint(name: str, value: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_settings({name: value})
    assert name in caught.value.message
    assert caught.value.hint


def test_a_dotenv_file_serves_development_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("HOWDAH_PORT=8123\n# comment\nHOWDAH_LOG_LEVEL='debug'\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).port == 8123
    assert load_settings({"HOWDAH_PORT": "9"}).port == 9
    assert load_settings({"HOWDAH_ENV": "production"}).port == Settings().port


def test_the_example_names_every_setting() -> None:
    example = Path(__file__).parents[2].joinpath(".env.example").read_text()
    missing = [
        name for name in Settings.__struct_fields__ if f"HOWDAH_{name.upper()}=" not in example
    ]
    assert missing == []
