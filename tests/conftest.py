"""The database servers that tests share: ``mariadb``, ``mysql``, and ``database`` for a test on both.

Each is started once for the whole run. A test that stops, kills or pauses a server, or needs other
options, makes its own: ``with MariaDB(max_connections=10) as server: ...``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TypeVar

import hypothesis
import pytest

from tests import planted
from tests.integration.proxy import ACCOUNTS
from tests.servers import Certificates, DatabaseServer, MariaDB, MySQL, ServerMissingError, make_certificates

# How long an example takes says something about the machine.
hypothesis.settings.register_profile("rdsproxy", deadline=None)
hypothesis.settings.load_profile("rdsproxy")


_searches = pytest.StashKey[bool]()
_found = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to keep what proxies say, in the first process of a run."""
    config.stash[_searches] = planted.begin()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a secret that a test planted was said anywhere."""
    if session.config.stash[_searches]:
        session.config.stash[_found] = planted.found()
        if session.config.stash[_found]:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where."""
    for place in config.stash.get(_found, []):
        terminalreporter.write_line(f"a secret that a test planted is in the output {place}", red=True)


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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What the proxies show their clients."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def server(database: DatabaseServer) -> DatabaseServer:
    """Each of the servers, with the accounts that the proxies use."""
    for account in ACCOUNTS:
        database.create_user(account.name, account.password, grants=["ALL PRIVILEGES ON *.*"])
    return database


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
