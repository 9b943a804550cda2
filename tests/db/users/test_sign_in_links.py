import logging
import stat
from pathlib import Path

import pytest

from db.errors import NotFound
from db.users import SignInLinks
from db.users.sign_in_links import MAX_WRONG_CODES

ADDRESS = "http://127.0.0.1:8000/graphql"


def code_of(link: str) -> str:
    address, _, code = link.partition("#sign-in=")
    assert address == ADDRESS
    return code


def test_link_is_claimed_once_in_any_process(tmp_path: Path) -> None:
    links, other_process = SignInLinks(tmp_path), SignInLinks(tmp_path)
    with links.serving(ADDRESS):
        first, second = code_of(links.make()), code_of(other_process.make())
        assert other_process.claim(first)
        assert not links.claim(first)
        assert not other_process.claim(first)
        assert links.claim(second)


def test_link_is_void_after_the_server_stopped_or_started_again(tmp_path: Path) -> None:
    links = SignInLinks(tmp_path)
    with links.serving(ADDRESS):
        code = code_of(links.make())
    assert not links.claim(code)
    with links.serving(ADDRESS):
        assert not links.claim(code)
        left_by_a_kill = code_of(links.make())
        with SignInLinks(tmp_path).serving(ADDRESS):
            assert not links.claim(left_by_a_kill)


def test_links_of_a_later_server_outlive_the_earlier(tmp_path: Path) -> None:
    later = SignInLinks(tmp_path)
    with SignInLinks(tmp_path).serving("http://127.0.0.1:8001/graphql"):
        serving = later.serving(ADDRESS)
        serving.__enter__()
        code = code_of(later.make())
    assert later.claim(code)
    serving.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_link_needs_a_server(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No development server"):
        SignInLinks(tmp_path).make()
    assert list(tmp_path.iterdir()) == []


def test_links_are_private_and_hold_no_code(tmp_path: Path) -> None:
    links = SignInLinks(tmp_path)
    with links.serving(ADDRESS):
        code = code_of(links.make())
        links.claim("wrong")
        folder = tmp_path / "sign-in"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = list(folder.iterdir())
        assert len(files) == 3
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert code not in file.name + file.read_text()
    assert len(code) >= 43  # 256 bits


def test_wrong_codes_void_the_link_and_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    links = SignInLinks(tmp_path)
    with links.serving(ADDRESS):
        code = code_of(links.make())
        for _ in range(MAX_WRONG_CODES - 1):
            assert not links.claim("wrong")
        assert caplog.records == []
        assert not links.claim("wrong")
        assert not links.claim(code)
        assert not links.claim("wrong")
        (warning,) = caplog.records
        assert warning.levelno == logging.WARNING
        assert "howdah user sign-in-link" in warning.getMessage()
        assert links.claim(code_of(links.make()))  # a new link starts a new count
