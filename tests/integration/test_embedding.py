"""The proxy as a service inside another Twisted application: it leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.proxy import ROOT
from tests.servers import DatabaseServer, make_certificates

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

USERS = [("embedded_one", "Embedded-1"), ("embedded_two", "Embedded-2")]


@pytest.fixture(autouse=True, scope="module")
def users(server: DatabaseServer) -> None:
    for name, password in USERS:
        server.create_user(name, password)


def embed(scenario: str, server: DatabaseServer, folder: Path) -> Any:
    """Run a scenario in a process of its own; see that nothing is left and give the answers."""
    files = make_certificates(folder / "tls")
    settings = {
        "server": (server.host, server.port),
        "folder": str(folder),
        "users": USERS,
        "tls": {"certificate": str(files.certificate), "private_key": str(files.private_key)},
        "ca": str(files.ca),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.embedding", scenario, json.dumps(settings)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout.splitlines()[-1])
    for after in report["after"]:
        assert after == report["before"]
    assert "Traceback" not in done.stdout + done.stderr
    return report["answers"]


def test_start_and_stop(server: DatabaseServer, folder: Path) -> None:
    assert embed("start_and_stop", server, folder) == ["embedded_one@%"] * 2


def test_with_clients(server: DatabaseServer, folder: Path) -> None:
    """In a statement, waiting for a connection, idle, in a transaction: each learns that it is over."""
    in_statement, waiting, idle, in_transaction = embed("with_clients", server, folder)
    assert waiting == "1053"
    # PyMySQL's own words for a connection that has ended.
    assert {in_statement, idle, in_transaction} <= {"1053", "2006", "2013"}
    # The server goes on with the statement: nobody has asked it to stop.
    left = server.processlist(USERS[0][0])
    assert [process.command for process in left] == ["Query"]
    server.execute(*(f"KILL {process.id}" for process in left))


def test_connections_are_freed_without_a_collection(server: DatabaseServer, folder: Path) -> None:
    connections, left = embed("without_collection", server, folder)
    assert connections == 4 + 3 + 1  # clients, what they borrowed, the monitor's
    assert left == []


def test_without_database(server: DatabaseServer, folder: Path) -> None:
    assert embed("without_database", server, folder) == ["1053", "1053"]


def test_two_services(server: DatabaseServer, folder: Path) -> None:
    answers = embed("two_services", server, folder)
    assert answers[:4] == ["embedded_one@%", "1045", "1045", "embedded_two@%"]
    assert answers[4:6] == ["1", "2"]
    assert answers[6] != "3"
    assert answers[7:] == ["3", "embedded_two@%"]


def test_a_busy_port(server: DatabaseServer, folder: Path) -> None:
    *failures, answer = embed("busy_port", server, folder)
    assert len(failures) == 2
    assert all("cannot listen on tcp:" in failure and "in use" in failure for failure in failures)
    assert answer == "embedded_one@%"


def test_with_admin(server: DatabaseServer, folder: Path) -> None:
    assert embed("with_admin", server, folder) == ["1.0", "2.0"]


def test_a_busy_admin_port(server: DatabaseServer, folder: Path) -> None:
    (failure,) = embed("busy_admin_port", server, folder)
    assert failure.startswith("cannot listen on tcp:")
    assert "in use" in failure


def test_with_tls(server: DatabaseServer, folder: Path) -> None:
    first, last = embed("with_tls", server, folder)
    assert first == "1"
    assert last in ("1053", "2006", "2013")
