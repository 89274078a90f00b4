"""The database servers that tests share: ``mariadb``, ``mysql``, and ``database`` for a test on both.

Each is started once for the whole run. A test that stops, kills or pauses a server, or needs other
options, makes its own: ``with MariaDB(max_connections=10) as server: ...``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TypeVar

import pytest

from tests.servers import DatabaseServer, MariaDB, MySQL, ServerMissingError


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A running MariaDB."""
    yield from _running(MariaDB)


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQL]:
    """A running MySQL."""
    yield from _running(MySQL)


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def database(request: pytest.FixtureRequest) -> DatabaseServer:
    """A running MariaDB, then a running MySQL."""
    server = request.getfixturevalue(request.param)
    assert isinstance(server, DatabaseServer)
    return server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let two processes share the work, one with each server: other files go to whoever is free."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        kind = parameters.params.get("database") if parameters is not None else None
        if kind is None:
            names = getattr(item, "fixturenames", ())
            kind = next((name for name in ("mariadb", "mysql") if name in names), item.path.name)
        item.add_marker(pytest.mark.xdist_group(kind))


AnyServer = TypeVar("AnyServer", bound=DatabaseServer)


def _running(kind: type[AnyServer]) -> Iterator[AnyServer]:
    server = kind()
    try:
        try:
            server.start()
        except ServerMissingError as error:
            # On a developer's machine the rest is still worth running; in CI nothing may be left out.
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield server
    finally:
        server.close()
