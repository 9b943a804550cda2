import ssl
from pathlib import Path
from urllib.parse import quote

import pytest

from db.errors import BadInput, Unavailable
from db.mail import Mail, MailServer
from db.settings import load_settings
from tests.fixtures.mail import SECRET, USER, running_mail_server

CREDENTIALS = f"{USER}:{quote(SECRET, safe='')}@"
PUBLIC = {"HOWDAH_PUBLIC_URL": "https://howdah.example.com", "HOWDAH_MAIL_FROM": "a@example.com"}


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_mail_is_sent_over_tls_with_credentials(tmp_path: Path, scheme: str) -> None:
    tls = "starttls" if scheme == "smtp" else "smtps"
    async with running_mail_server(tmp_path, tls=tls, auth=scheme == "smtp") as server:
        mail = server.mail(scheme, CREDENTIALS if scheme == "smtp" else "")
        await mail.send("ada@example.com", "Sübject", "Text.\n.\nMore.")
        received = await server.inbox.next()
        assert received["To"] == "ada@example.com"
        assert received["From"] == "Howdah <howdah@example.com>"
        assert received["Subject"] == "Sübject"
        assert received.get_content().splitlines() == ["Text.", ".", "More."]
        assert server.inbox.encrypted == [True]


async def test_mail_is_not_sent_to_an_unverified_server(tmp_path: Path) -> None:
    async with running_mail_server(tmp_path) as server:
        strangers = Mail(server.mail()._server, "a@example.com", tls=ssl.create_default_context())
        with pytest.raises(Unavailable):
            await strangers.send("ada@example.com", "Subject", "Text")
        assert server.inbox.mails.empty()


async def test_mail_is_sent_in_clear_text_on_loopback_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_mail_server(tmp_path, tls="none") as server:
        await server.mail().send("ada@example.com", "Subject", "Text")
        assert (await server.inbox.next()).get_content().strip() == "Text"
        monkeypatch.setattr(MailServer, "on_loopback", False)
        with pytest.raises(Unavailable):
            await server.mail().send("ada@example.com", "Subject", "Text")
        assert server.inbox.mails.empty()


async def test_wrong_password_of_the_mail_server_is_unavailable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_mail_server(tmp_path, auth=True) as server:
        mail = server.mail("smtp", f"{USER}:hunter2@")
        with pytest.raises(Unavailable):
            await mail.send("ada@example.com", "Subject", "Text")
    assert "hunter2" not in caplog.text + repr(mail._server)


@pytest.mark.parametrize(
    "url", ["localhost", "http://localhost", "smtp://", "smtp://h:x", "smtp://h/path", "smtp://["]
)
def test_smtp_url_is_checked_without_being_quoted(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_settings(PUBLIC | {"HOWDAH_SMTP_URL": url})
    assert "HOWDAH_SMTP_URL" in caught.value.message
    assert url not in caught.value.message


@pytest.mark.parametrize("missing", PUBLIC)
def test_smtp_url_requires_sender_and_public_url(missing: str) -> None:
    given = {name: value for name, value in PUBLIC.items() if name != missing}
    with pytest.raises(BadInput, match=missing):
        load_settings(given | {"HOWDAH_SMTP_URL": "smtp://mail.example.com"})
    load_settings(PUBLIC | {"HOWDAH_SMTP_URL": "smtps://u:p%40@mail.example.com"})


def test_smtp_url_has_the_usual_ports() -> None:
    assert MailServer.parse("smtp://mail").port == 587
    parsed = MailServer.parse("smtps://u:p%40@mail")
    assert (parsed.port, parsed.username, parsed.password) == (465, "u", "p@")
