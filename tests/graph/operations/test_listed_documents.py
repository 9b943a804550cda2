"""The list of documents: its forms, its faults, and its changes."""

import errno
import itertools
import json
import logging
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from db.errors import BadInput
from graph.operations.listed_documents import ListedDocuments, sha256_id

HELLO = "query Hello { hello }"
NAME = "query Name { name }"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def listed(path: Path) -> ListedDocuments:
    documents = ListedDocuments(path)
    documents.load()
    return documents


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_listed_documents_id_is_hash_of_text() -> None:
    """The examples of the appendix about persisted documents."""
    text = "query($id:ID!){user(id:$id){name}}"
    digest = "71f7dc5758652baac68e4a10c50be732b741c892ade2883a99358f52b555286b"
    assert sha256_id(text) == f"sha256:{digest}"


@pytest.mark.parametrize(
    ("content", "given"),
    [
        ({sha256(HELLO.encode()).hexdigest(): HELLO}, sha256(HELLO.encode()).hexdigest()),
        ({MD5: HELLO}, MD5),  # Relay
        ({sha256_id(HELLO): HELLO}, sha256_id(HELLO)),
        (
            {
                "format": "apollo-persisted-query-manifest",
                "version": 1,
                "operations": [{"id": "a1", "name": "Hello", "type": "query", "body": HELLO}],
            },
            "a1",
        ),
    ],
    ids=["codegen", "relay", "prefixed", "apollo"],
)
def test_listed_documents_of_file_are_found(tmp_path: Path, content: object, given: str) -> None:
    documents = listed(write(tmp_path / "documents.json", content))
    assert documents.find(given) == HELLO
    assert documents.find(sha256_id(HELLO)) == HELLO
    assert documents.find("other") is None
    assert documents.count == 1


def test_listed_documents_of_folder_are_found(tmp_path: Path) -> None:
    write(tmp_path / "web.json", {"1": HELLO})
    write(tmp_path / "mobile" / "Name.graphql", NAME)
    write(tmp_path / "..2026_11_29" / "Hidden.graphql", "{ box { name } }")
    write(tmp_path / "README.md", "no document")
    documents = listed(tmp_path)
    assert (documents.find("1"), documents.find("Name")) == (HELLO, NAME)
    assert documents.find(sha256_id(NAME)) == NAME
    assert documents.count == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.json": "{"}, "is no list of documents"),
        ({"a.json": ["query"]}, "is no list of documents"),
        ({"a.json": {"format": "other", "operations": []}}, "is no list of documents"),
        ({"a.json": {"id": {"text": HELLO}}}, "is no list of documents"),
        ({"a.json": {"1": HELLO}, "b.json": {"1": NAME}}, "a second document with the ID 1"),
        ({"a.json": {sha256_id(HELLO): NAME}}, "that is not its hash"),
        ({"a.json": {}}, "lists no document"),
        ({}, "lists no document"),
    ],
)
def test_listed_documents_that_are_faulty_are_refused(
    tmp_path: Path, files: dict[str, object], message: str
) -> None:
    for name, content in files.items():
        write(tmp_path / name, content)
    with pytest.raises(BadInput, match=message) as refusal:
        listed(tmp_path)
    assert refusal.value.hint


def test_listed_documents_path_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        listed(tmp_path / "missing.json")


def test_listed_documents_are_read_again_when_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = write(tmp_path / "documents.json", {"1": HELLO})
    documents = listed(path)
    documents.reload_if_changed()
    assert not caplog.messages
    write(path, {"2": NAME})
    documents.reload_if_changed()
    assert (documents.find("1"), documents.find("2")) == (None, NAME)
    write(path, "{")  # a build is writing it
    for _ in range(2):
        documents.reload_if_changed()
    assert documents.find("2") == NAME
    write(tmp_path / "new", {"3": HELLO}).replace(path)
    documents.reload_if_changed()
    assert documents.find("3") == HELLO
    levels = [record.levelname for record in caplog.records]
    assert levels == ["INFO", "ERROR", "INFO"]  # the fault is reported once


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_listed_documents_are_read_after_a_folder_was_removed_during_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    write(tmp_path / "Hello.graphql", HELLO)
    documents = listed(tmp_path)
    write(tmp_path / "Name.graphql", NAME)
    search, searches = Path.rglob, itertools.count(1)

    def rglob(folder: Path, pattern: str) -> Iterator[Path]:
        if next(searches) == failing:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return search(folder, pattern)

    monkeypatch.setattr(Path, "rglob", rglob)
    for _ in range(2):
        documents.reload_if_changed()
        assert documents.find("Hello") == HELLO
    assert documents.find("Name") == NAME


def test_listed_documents_stay_while_their_folder_cannot_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "Hello.graphql", HELLO)
    documents = listed(tmp_path)

    def refuse(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "is_dir", refuse)
        documents.reload_if_changed()
    assert documents.find("Hello") == HELLO
    assert "Permission denied" in caplog.text
