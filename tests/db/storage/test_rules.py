import pytest

from db.errors import BadInput
from db.kit.base import new_id
from db.storage import NewFile, rules
from db.storage.rules import (
    checked_content_type,
    checked_file,
    checked_folder,
    checked_location,
    checked_multiaddresses,
)


@pytest.mark.parametrize(
    "location",
    [
        "a",
        "a/b/c.txt",
        ".hidden",
        "a b/c d",
        "...x",
        "Å/é/日本語",
        "\N{ELEPHANT}\N{ZERO WIDTH JOINER}x",
        "C:/x",
        "%2e%2e/x",
        "x" * 1_000,
    ],
)
def test_location_accepts_valid_paths(location: str) -> None:
    assert checked_location(location) == location


@pytest.mark.parametrize(
    "location",
    [
        "",
        " ",
        "/",
        "/etc/passwd",
        "a//b",
        "a/",
        ".",
        "..",
        "../x",
        "a/../b",
        "a/./b",
        "a/b..",
        "a/b.",
        "a./b",
        "a /b",
        "a/ b",
        "a\\b",
        "..\\x",
        "nul\0",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "half \ud800",
        "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe",
        "a\N{RIGHT-TO-LEFT MARK}b",
        "a\N{RIGHT-TO-LEFT ISOLATE}b",
        "a\N{LINE SEPARATOR}b",
        "a\N{ZERO WIDTH SPACE}b",
        "\N{ZERO WIDTH NO-BREAK SPACE}a",
        "x" * 1_001,
        "\N{ELEPHANT}" * 600,
    ],
)
def test_location_rejects_unsafe_paths(location: str) -> None:
    with pytest.raises(BadInput) as caught:
        checked_location(location)
    assert caught.value.field == "location"


def test_location_is_normalized() -> None:
    assert checked_location("e\N{COMBINING ACUTE ACCENT}") == "é"
    assert checked_location("  a/b  ") == "a/b"


def test_folder_accepts_one_trailing_slash() -> None:
    assert checked_folder("a/b/") == checked_folder("a/b") == "a/b"
    for bad in ("", "/", "a//", "../a"):
        with pytest.raises(BadInput) as caught:
            checked_folder(bad)
        assert caught.value.field == "under"
    assert "`reports/2026`" in caught.value.hint  # a folder, not a file


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "TEXT/html; charset=utf-8", 'a/b; c="d e"', "application/vnd.x+json;v=1"],
)
def test_content_type_accepts_media_types(content_type: str) -> None:
    assert checked_content_type(content_type) == content_type


@pytest.mark.parametrize(
    "content_type",
    ["", "text", "text/", "/x", "a/b\r\nX: y", "a/b;", "é/x", "a/b; c", "a/" + "b" * 300],
)
def test_content_type_rejects_other_text(content_type: str) -> None:
    with pytest.raises(BadInput):
        checked_content_type(content_type)


def test_content_type_defaults_to_octet_stream() -> None:
    assert checked_content_type(None) == "application/octet-stream"


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("/ip4/203.0.113.7/tcp/030333", "/ip4/203.0.113.7/tcp/30333"),
        ("/ip6/FE80::0001/udp/1/quic-v1", "/ip6/fe80::1/udp/1/quic-v1"),
        ("/ip6/::FFFF:102:304/udp/1", "/ip6/::ffff:1.2.3.4/udp/1"),
        ("/dns4/BSP.Example/tcp/443/wss/", "/dns4/bsp.example/tcp/443/wss"),
        (
            "/dns/a-b.xn--bcher-kva.example/tcp/1/tls/ws",
            "/dns/a-b.xn--bcher-kva.example/tcp/1/tls/ws",
        ),
        (
            "/ip4/1.2.3.4/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            "/ip4/1.2.3.4/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        ),
        (
            "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWNFfc5rVjPYgDwxRnGRUsJYtXMzjNCTvJ8NHJz9dtiRWj",
            "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWNFfc5rVjPYgDwxRnGRUsJYtXMzjNCTvJ8NHJz9dtiRWj",
        ),
    ],
)
def test_multiaddress_is_returned_in_canonical_form(given: str, canonical: str) -> None:
    assert checked_multiaddresses([given]) == [canonical]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/",
        "nonsense",
        "ip4/1.2.3.4/tcp/1",
        "/ip4/1.2.3.4",
        "/tcp/1",
        "/unix/tmp/socket",
        "/ip4/999.1.1.1/tcp/1",
        "/ip4/1.2.3.4/tcp/99999",
        "/dns4/a b/tcp/1",
        "/ip4/1.2.3.4/http",
        "/ip4/1.2.3.4/http/80",
        "/ip4/1.2.3.4/tcp/0",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/1.2.3.4/tcp/\N{ARABIC-INDIC DIGIT ONE}",
        "/ip4/1.2.3.04/tcp/1",
        "/ip6/1.2.3.4/tcp/1",
        "/ip6/fe80::1%eth0/tcp/1",
        "/dns//tcp/1",
        "/dns/-a.example/tcp/1",
        "/dns/a..example/tcp/1",
        "/ip4/1.2.3.4/tcp/1/nonsense",
        "/ip4/1.2.3.4/tcp/1/p2p",
        "/ip4/1.2.3.4/tcp/1/p2p/nonsense",
        "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWNFfc5rVjPYgDwxRnGRUsJYtXMzjNCTvJ8NHJz9dtiRW",
        "/ip4/1.2.3.4/tcp/1//ws",
        "/ip4/1.2.3.4/tcp/1\0",
        "/ip4/1.2.3.4/tcp/1" + "/ws" * 200,
    ],
)
def test_multiaddress_rejects_unsupported_text(address: str) -> None:
    with pytest.raises(BadInput) as caught:
        checked_multiaddresses([address])
    assert caught.value.field == "multiaddresses"


def test_multiaddresses_reject_duplicates_and_too_many() -> None:
    with pytest.raises(BadInput, match="twice"):
        checked_multiaddresses(["/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/tcp/01"])
    with pytest.raises(BadInput, match="33"):
        checked_multiaddresses([f"/ip4/1.2.3.4/tcp/{port}" for port in range(1, 34)])


@pytest.mark.parametrize(
    ("size", "replicas", "field"),
    [(-1, 0, "size"), (2**63, 0, "size"), (1, -1, "desiredReplicas"), (1, 21, "desiredReplicas")],
)
def test_file_numbers_have_bounds(size: int, replicas: int, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        checked_file(NewFile(new_id(), "a", size, None, replicas))
    assert caught.value.field == field
    assert rules.checked_capacity(rules.MAX_BIGINT) == 2**63 - 1
