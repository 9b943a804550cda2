import io
import json
import logging
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from db.security.redaction import redacted
from db.settings import Settings
from graph.server.logs import OPEN_AGAIN_S, DailyFile, logging_to
from graph.transport.middleware.request_ids import current_request_id

CANARY = "c4n4ry-hunter2"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjNG40cnkifQ.c2lnbmF0dXJl"
log = logging.getLogger("db.canary")


class Terminal(io.StringIO):
    """Says that somebody reads."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Restores the loggers after the test."""
    loggers = [logging.getLogger(name) for name in ("", "db", "graph")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def file_of(folder: Path) -> Path:
    (found,) = (folder / "logs").iterdir()
    return found


def test_log_format_is_text_on_terminal_and_json_elsewhere(tmp_path: Path) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with logging_to(Settings(data_dir=tmp_path), stream):
            log.warning("the %s is dry", "well")
    assert "warning" in terminal.getvalue()
    assert "the well is dry" in terminal.getvalue()
    entries = [json.loads(line) for line in file_of(tmp_path).read_text().splitlines()]
    entries.append(json.loads(pipe.getvalue()))
    assert len(entries) == 3
    for entry in entries:
        assert (entry["level"], entry["logger"]) == ("warning", "db.canary")
        assert entry["message"] == "the well is dry"
        assert datetime.fromisoformat(entry["at"]).tzinfo


@pytest.mark.parametrize("chosen", ["console", "json"])
def test_log_format_setting_overrides_terminal(tmp_path: Path, chosen: str) -> None:
    stream = io.StringIO() if chosen == "console" else Terminal()
    with logging_to(Settings(data_dir=tmp_path, log_format=chosen), stream):  # type: ignore[arg-type]  # one of the two
        log.info("hello")
    assert stream.getvalue().startswith("{") == (chosen == "json")


def test_log_on_a_terminal_has_no_line_or_control_character_of_a_hostile_server(
    tmp_path: Path,
) -> None:
    hostile = "gone\r\n12:00:00 error    the keys were stolen\x1b[2J\x9b1m\u202e"
    terminal = Terminal()
    with logging_to(Settings(data_dir=tmp_path), terminal):
        log.info("the server says: %s", hostile)
        log.error("it failed", exc_info=ConnectionError(hostile))
    first, *others = terminal.getvalue().splitlines()
    assert first.endswith(r"info     the server says: gone\r")
    assert [line for line in others if not line.startswith("  ")] == [others[1]]
    assert others[1].endswith("it failed")
    assert others[0] == r"  12:00:00 error    the keys were stolen\x1b[2J\x9b1m\u202e"
    shown = terminal.getvalue().replace("\033[31m", "").replace("\033[0m", "")
    assert all(c.isprintable() for c in shown.replace("\n", ""))


def test_log_level_of_libraries_is_warning(tmp_path: Path) -> None:
    stream = io.StringIO()
    with logging_to(Settings(data_dir=tmp_path), stream):
        logging.getLogger("uvicorn.error").info("Started server process")
        logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    assert "Started" not in stream.getvalue()
    assert "Exception in ASGI application" in stream.getvalue()


def test_log_level_applies_to_own_modules(tmp_path: Path) -> None:
    stream = io.StringIO()
    with logging_to(Settings(data_dir=tmp_path, log_level="debug"), stream):
        log.debug("ours")
        logging.getLogger("websockets.server").debug("a whole frame, token and all")
    assert "ours" in stream.getvalue()
    assert "frame" not in stream.getvalue()


def test_log_files_are_private_daily_and_kept_two_weeks(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    today = datetime.now(UTC).date()
    for age in (1, 13, 14, 30):
        (folder / f"howdah-{today - timedelta(days=age)}.log").touch()
    (folder / "notes.txt").touch()
    with logging_to(Settings(data_dir=tmp_path), io.StringIO()):
        log.info("today")
    names = {path.name for path in folder.iterdir()}
    kept = {f"howdah-{today - timedelta(days=age)}.log" for age in (0, 1, 13)}
    assert names == kept | {"notes.txt"}
    mode = (folder / f"howdah-{today}.log").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_log_file_rotates_at_midnight(tmp_path: Path) -> None:
    with logging_to(Settings(data_dir=tmp_path), io.StringIO()):
        log.info("today")
        tomorrow = log.makeRecord("db", logging.INFO, "", 0, "tomorrow", (), None)
        tomorrow.created += 86_400
        logging.getLogger().handle(tomorrow)
    texts = [path.read_text() for path in sorted((tmp_path / "logs").iterdir())]
    assert ["today" in text for text in texts] == [True, False]
    assert ["tomorrow" in text for text in texts] == [False, True]


def test_log_without_folder_uses_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("no folder")
    stream = io.StringIO()
    with logging_to(Settings(data_dir=tmp_path), stream):
        log.info("one")
        log.info("two")
    assert stream.getvalue().count("\n") == 2
    assert capsys.readouterr().err.count("Cannot write a log file") == 1


def test_log_file_is_opened_again_after_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a midnight with a full disk, which is reported once."""
    folder = tmp_path / "data"
    folder.touch()
    handler = DailyFile(folder / "logs")
    record = logging.makeLogRecord({"msg": "word", "created": 1_000_000.0})
    handler.emit(record)
    folder.unlink()
    handler.emit(record)
    assert capsys.readouterr().err.count("Cannot write a log file") == 1
    record.created += OPEN_AGAIN_S
    handler.emit(record)
    handler.emit(record)
    handler.close()
    assert file_of(folder).read_text() == "word\n" * 2


def test_log_line_has_request_id(tmp_path: Path) -> None:
    stream = io.StringIO()
    with logging_to(Settings(data_dir=tmp_path), stream):
        token = current_request_id.set("of-the-request")
        log.info("inside")
        current_request_id.reset(token)
        log.info("outside")
    inside, outside = (json.loads(line) for line in stream.getvalue().splitlines())
    assert inside["requestId"] == "of-the-request"
    assert "requestId" not in outside


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://ann:{CANARY}@db.example.com/howdah",
        f"redis://:{CANARY}@cache",
        f"postgresql+asyncpg://ann:p@ss{CANARY}@db/howdah?sslmode=require",
        f"Authorization: Bearer {CANARY}",
        f"authorization: Basic {CANARY}",
        f"(b'authorization', b'Bearer {CANARY}')",
        f'{{"payload": {{"Authorization": "Bearer {CANARY}"}}}}',
        f"password={CANARY}",
        f"HOWDAH_SECRET_KEY={CANARY}",
        f"{{'newPassword': '{CANARY}', 'email': 'a@b.c'}}",
        f'{{"refreshToken":"{CANARY}"}}',
        f'{{"password":"with \\" quote {CANARY}"}}',
        f"host=db user=ann password='{CANARY}' port=5432",
        f"https://x.example.com/?api_key={CANARY}&page=2",
        f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}",
        f"CREATE ROLE ann LOGIN PASSWORD '{CANARY}'",
        f"alter user ann password\n E'it''s \\' {CANARY}' VALID UNTIL 'infinity'",
        f"ALTER ROLE ann PASSWORD $q$'{CANARY}$q$",
        f"ALTER ROLE ann ENCRYPTED PASSWORD 'cut short {CANARY}",
    ],
)
def test_log_redacts_secrets(tmp_path: Path, text: str) -> None:
    stream = io.StringIO()
    for chosen in ("json", "console"):
        with logging_to(Settings(data_dir=tmp_path, log_format=chosen), stream):
            log.error("it failed: %s", text)
            log.error("unexpected", exc_info=RuntimeError(text))
    for written in (stream.getvalue(), file_of(tmp_path).read_text()):
        assert CANARY not in written
        assert "it failed" in written
    assert JWT not in redacted(f"the token {JWT} was refused")


@pytest.mark.parametrize(
    "text",
    [
        "The password file was missing: a new password was set.",
        "a refresh token of 01a1fd19 was used again; its session ends",
        "the database at db.example.com:5432 is not available yet: ConnectionRefusedError",
        "listening at http://127.0.0.1:8000/graphql",
        "write to ann@example.com",
        "ALTER ROLE ann PASSWORD NULL",
    ],
)
def test_log_keeps_words_about_secrets(text: str) -> None:
    assert redacted(text) == text


async def test_log_of_request_has_id_of_response(
    toy_client: httpx.AsyncClient, tmp_path: Path
) -> None:
    stream = io.StringIO()
    with logging_to(Settings(data_dir=tmp_path), stream):
        response = await toy_client.post("/graphql", json={"query": "{ meet(trouble: SURPRISE) }"})
    (entry,) = (json.loads(line) for line in stream.getvalue().splitlines())
    assert entry["requestId"] == response.headers["x-request-id"]
    assert "RuntimeError" in entry["exception"]
