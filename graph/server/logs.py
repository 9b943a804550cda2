"""Logging: text on a terminal, JSON elsewhere, and a daily file; secrets are redacted.

The modules use the standard library. structlog adds 160 ms to each start, because it imports rich
(docs/decisions).
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import msgspec

from db.security.redaction import redacted
from db.settings import Settings
from graph.transport.middleware.request_ids import current_request_id

KEPT_DAYS = 14
OPEN_AGAIN_S = 60.0
_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31m"}


@contextlib.contextmanager
def logging_to(settings: Settings, stream: IO[str] | None = None) -> Iterator[None]:
    """Log to the stream, by default standard error, and to the daily file."""
    stream = stream or sys.stderr
    as_json = settings.log_format == "json" or (settings.log_format is None and not stream.isatty())
    console = logging.StreamHandler(stream)
    console.setFormatter(JsonFormatter() if as_json else ConsoleFormatter(colours=stream.isatty()))
    file = DailyFile(settings.log_dir)
    file.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.handlers
    root.handlers = [console, file]
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    root.setLevel(max(level, logging.WARNING))  # libraries log each step, some with message bodies
    for own in ("db", "graph"):
        logging.getLogger(own).setLevel(level)
    try:
        yield
    finally:
        root.handlers = before
        file.close()


class ConsoleFormatter(logging.Formatter):
    """Time, level, message and request id.

    A message may repeat the text of a hostile server: it begins no line of the log, and its control
    characters do not reach the terminal.
    """

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone()
        level = f"{record.levelname.lower():8}"
        if self._colours and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}\033[0m"
        line = f"{at:%H:%M:%S} {level} {_on_terminal(redacted(record.getMessage()))}"
        if request_id := _request_id(record):
            line += f"  (request {request_id})"
        if record.exc_info:
            line += "\n  " + _on_terminal(redacted(self.formatException(record.exc_info)))
        return line


def _on_terminal(text: str) -> str:
    """Indents all lines but the first, and escapes what is not printable."""
    return "\n  ".join(
        "".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in text.split("\n")
    )


class JsonFormatter(logging.Formatter):
    """One JSON object a line. `extra={"fields": {...}}` adds values, which are not redacted."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if request_id := _request_id(record):
            entry["requestId"] = request_id
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = redacted(self.formatException(record.exc_info))
        return msgspec.json.encode(entry).decode()


def error_line(logger: str, message: str, hint: str, error: Exception | None = None) -> str:
    """The line of JSON for an error that ends a process. The hint has no secret."""
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord(logger, logging.ERROR, "", 0, "%s", (message,), exc_info)
    record.fields = {"hint": hint}
    return JsonFormatter().format(record)


class DailyFile(logging.Handler):
    """Writes `howdah-<date>.log`, and removes files older than two weeks.

    The name contains the date, so that several processes can write without rotating the file.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._day = ""
        self._again_at = 0.0
        self._file: IO[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            day = f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%d}"
            if day != self._day and record.created >= self._again_at:
                self._begin(day)
                # A disk that is full at midnight has space again before the next one.
                self._again_at = 0.0 if self._file else record.created + OPEN_AGAIN_S
            if self._file is not None:
                self._file.write(self.format(record) + "\n")
                self._file.flush()
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def _begin(self, day: str) -> None:
        """Open the file of the day. A failure is reported on standard error only."""
        self.close()
        self._day = ""
        try:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path = self._folder / f"howdah-{day}.log"
            self._file = open(path, "a", encoding="utf-8", opener=_private)  # noqa: SIM115 - closed by close()
            self._day = day
            self._remove_old(day)
        except OSError as error:
            sys.stderr.write(f"Cannot write a log file in {self._folder}: {error.strerror}\n")

    def _remove_old(self, day: str) -> None:
        oldest = f"{datetime.fromisoformat(day) - timedelta(days=KEPT_DAYS):%Y-%m-%d}"
        for path in self._folder.glob("howdah-*.log"):
            if path.stem.removeprefix("howdah-") <= oldest:
                path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _request_id(record: logging.LogRecord) -> str:
    return getattr(record, "request_id", "") or current_request_id.get()
