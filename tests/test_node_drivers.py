"""Where Node's drivers cannot be had, the tests say why, and leave nothing half made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.node.install import DriversMissingError, install_drivers, node_program


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without the drivers."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RDSPROXY_CACHE", str(folder))
    return folder


def test_without_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DriversMissingError, match="node is missing"):
        node_program()
    with pytest.raises(DriversMissingError, match="npm is missing"):
        install_drivers()


def test_without_the_network(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code EAI_AGAIN' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(DriversMissingError, match=r"is the network there\?\): npm ci: npm error code EAI_AGAIN"):
        install_drivers()
    assert [path.suffix for path in empty_cache.iterdir()] == [".lock"]
