"""What can be wrong between the proxy and its database."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from rdsproxy.doctor.finding import Level
from rdsproxy.doctor.users import check_trackers
from rdsproxy.protocol.telling import EVERYTHING
from tests.doctor.examiner import Examiner
from tests.doctor.patient import configuration, secret, target
from tests.failover.network import TcpRelay
from tests.iam.database import TokenDatabase
from tests.integration.network import Forwarder
from tests.servers import DatabaseServer, MariaDB, User, free_port, make_certificates

WRONG = User("app", "Planted-Wrong-1")
MIGHTY = User("doctor_mighty", "Planted-Mighty-1")
BY_ROLE = User("doctor_by_role", "Planted-Role-1")
PLAIN = User("doctor_plain", "Planted-Plain-1")


@pytest.fixture(scope="module")
def server(database: DatabaseServer) -> Iterator[DatabaseServer]:
    """A server with users of all kinds."""
    database.create_user(MIGHTY.name, MIGHTY.password, grants=["ALL PRIVILEGES ON *.*"])
    database.create_user(PLAIN.name, PLAIN.password)
    database.create_user(BY_ROLE.name, BY_ROLE.password, grants=["SELECT ON app.*"])
    power = "SUPER" if isinstance(database, MariaDB) else "CONNECTION_ADMIN"
    database.execute(
        "CREATE ROLE IF NOT EXISTS doctor_power",
        f"GRANT {power} ON *.* TO doctor_power",
        f"GRANT doctor_power TO '{BY_ROLE.name}'@'%'",
        f"SET DEFAULT ROLE doctor_power {'FOR' if isinstance(database, MariaDB) else 'TO'} '{BY_ROLE.name}'@'%'",
    )
    yield database
    database.execute("DROP ROLE doctor_power")


def test_users(diagnose: Examiner, server: DatabaseServer, tmp_path: Path) -> None:
    """Each for itself: that one is refused says nothing of the others."""
    users = (WRONG, MIGHTY, PLAIN, BY_ROLE)
    report = diagnose(configuration([secret(tmp_path, user) for user in users], [target(server)]))
    wrong = report.of("user app")
    assert wrong.level is Level.FAIL
    assert "1045" in wrong.found
    assert "the password in the secret" in wrong.remedy
    mighty = report.of(f"user {MIGHTY.name}")
    assert mighty.level is Level.WARN
    assert ("ALL PRIVILEGES" if isinstance(server, MariaDB) else "CONNECTION_ADMIN, SUPER") in mighty.found
    assert report.of(f"user {BY_ROLE.name}").level is Level.WARN
    assert report.of(f"user {PLAIN.name}").level is Level.OK
    assert report.of(", role").level is Level.OK
    assert report.failures() == [wrong]
    assert "Planted-" not in str(report)


def test_max_connections_of_which_others_have_some(
    diagnose: Examiner, server: DatabaseServer, tmp_path: Path
) -> None:
    config = configuration([secret(tmp_path, PLAIN)], [target(server)])
    config["target_group"]["max_connections"] = 1
    assert "take turns with a single connection" in diagnose(config).of("max_connections").remedy
    del config["target_group"]["max_connections"]
    held = [server.admin() for _ in range(2)]
    try:
        found = diagnose(config).of("max_connections")
    finally:
        for connection in held:
            connection.close()
    assert found.level is Level.WARN
    assert found.found.startswith("the proxy opens up to 999 of its max_connections, 1000; others have ")
    assert found.remedy.startswith("set max_connections = 9")


def test_an_init_query_that_fails(diagnose: Examiner, server: DatabaseServer, tmp_path: Path) -> None:
    query = "SET @planted = 'Planted-', no_such = 1"
    config = configuration([secret(tmp_path, PLAIN)], [target(server)], init_query=query)
    report = diagnose(config)
    (failure,) = report.failures()
    assert failure.found == "logs in, but init_query failed: error 1193"
    assert failure.remedy == "correct init_query in [proxy]"
    assert "Planted-" not in str(report)


def test_trackers_that_somebody_keeps_from_the_server() -> None:
    """A proxy in between that answers SET by itself."""
    assert not check_trackers("user app", EVERYTHING._replace(system_variables=b"autocommit"))
    for settings in (EVERYTHING._replace(system_variables=b""), EVERYTHING._replace(state_change=b"0")):
        (failure,) = check_trackers("user app", settings)
        assert failure.level is Level.FAIL
        assert "another proxy" in failure.remedy


def test_a_server_that_cannot_be_reached(diagnose: Examiner, server: DatabaseServer, tmp_path: Path) -> None:
    """In one of several ways; another one can."""
    with Forwarder(server.host, server.port, insert=lambda data: b"HTTP/1.1 400 Bad Request\r\n\r\n") as stranger:
        targets: list[dict[str, object]] = [
            {"host": "127.0.0.1", "port": free_port()},
            target(server),
            {"host": "database.invalid"},
            {"host": stranger.host, "port": stranger.port},
        ]
        group = {"topology": {"kind": "replication"}}
        report = diagnose(configuration([secret(tmp_path, PLAIN)], targets, group=group))
    name, refused, other = report.failures()
    assert refused.found == "connection refused: nobody listens there"
    assert "firewall" in refused.remedy
    assert name.subject == "name database.invalid"
    assert "/etc/resolv.conf" in name.remedy
    assert other.remedy.startswith("is it a MySQL or MariaDB server that listens there")


def test_a_server_that_falls_silent(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    """Before its greeting, or behind the login: that takes the ten seconds that a login has, and no more."""
    pieces = count(1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Forwarder(mariadb.host, mariadb.port, insert=lambda data: data if next(pieces) <= 3 else b"") as mute,
    ):
        targets: list[dict[str, object]] = [
            {"host": mute.host, "port": mute.port},
            {"host": "127.0.0.1", "port": silent.getsockname()[1]},
        ]
        group = {"topology": {"kind": "replication"}, "tls": {"mode": "DISABLED"}}
        report = diagnose(configuration([secret(tmp_path, mariadb.user)], targets, group=group))
    behind, before = report.failures()
    assert behind.found == "logs in, but gets no answer in time"
    assert before.found == "no answer in time"


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_the_name_in_the_certificate(diagnose: Examiner, server: DatabaseServer, tmp_path: Path) -> None:
    with TcpRelay(server.host, server.port, host="127.0.0.2") as relay:
        place = {"host": relay.host, "port": relay.port}
        for mode, level in (("VERIFY_IDENTITY", Level.FAIL), ("VERIFY_CA", Level.OK)):
            tls = {"mode": mode, "ca": str(server.ca_path)}
            found = diagnose(configuration([secret(tmp_path, PLAIN)], [place], group={"tls": tls})).of("TLS")
            assert found.level is level
            if level is Level.FAIL:
                assert found.found == "its certificate is refused: it is not for 127.0.0.2"
                assert found.remedy.startswith("host must be the name or address that its certificate is for")


def test_an_authority_that_is_not_trusted(diagnose: Examiner, server: DatabaseServer, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    tls = {"mode": "VERIFY_CA", "ca": str(other.ca)}
    report = diagnose(configuration([secret(tmp_path, PLAIN)], [target(server)], group={"tls": tls}))
    found = report.of("TLS")
    assert found.level is Level.FAIL
    assert found.found.startswith("its certificate is refused: its ")
    assert "the PEM file of the authority that has signed it" in found.remedy


def test_certificates_that_have_expired(diagnose: Examiner, mariadb: MariaDB, tmp_path: Path) -> None:
    expired = make_certificates(tmp_path / "expired", days=-1)
    passwords = {mariadb.user.name: mariadb.user.password}
    with TokenDatabase(mariadb, expired, passwords) as database:
        place = {"host": "127.0.0.1", "port": database.port}
        for tls in ({"mode": "VERIFY_CA", "ca": str(expired.ca)}, {"mode": "REQUIRED"}):
            own = {"certificate": str(expired.certificate), "private_key": str(expired.private_key)}
            config = configuration([secret(tmp_path, mariadb.user)], [place], group={"tls": tls}, tls=own)
            report = diagnose(config)
            assert report.of("TLS").level is Level.FAIL
            assert "has expired" in report.of("TLS").found
            assert "renew" in report.of("TLS").remedy
            assert report.of(str(expired.certificate)).level is Level.FAIL
            assert report.of(str(expired.certificate)).remedy == "renew it"


# -- a server of one's own ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(database: DatabaseServer) -> Iterator[DatabaseServer]:
    """Few connections, no TLS, read-only."""
    no_tls = {"skip-ssl": None} if isinstance(database, MariaDB) else {"tls-version": ""}
    with type(database)(max_connections=10, options={"read-only": "1", **no_tls}) as server:
        server.create_user(PLAIN.name, PLAIN.password, "mysql_native_password" if "skip-ssl" in no_tls else "")
        yield server


def test_a_server_without_tls(diagnose: Examiner, small: DatabaseServer, tmp_path: Path) -> None:
    for mode, level in (("PREFERRED", Level.OK), ("REQUIRED", Level.FAIL), ("VERIFY_CA", Level.FAIL)):
        config = configuration([secret(tmp_path, PLAIN)], [target(small)], group={"tls": {"mode": mode}})
        found = diagnose(config).of("TLS")
        assert found.level is level
        if level is Level.FAIL:
            assert found.found == f"the server does not offer it, and the mode is {mode}"


def test_a_writer_that_is_read_only(diagnose: Examiner, small: DatabaseServer, tmp_path: Path) -> None:
    config = configuration([secret(tmp_path, PLAIN)], [target(small)])
    role = diagnose(config).of(", role")
    assert role.level is Level.FAIL
    assert role.found == "it is the writer, and read-only"
    config["target_group"]["topology"] = {"kind": "replication"}
    report = diagnose(config)
    assert report.of(", role").found == "read-only"
    assert report.of("writer").found == "no target that can be reached takes writes"


def test_two_writers_and_no_reader(
    diagnose: Examiner, server: DatabaseServer, mariadb: MariaDB, tmp_path: Path
) -> None:
    with TcpRelay(server.host, server.port) as relay:
        targets = [target(server), {"host": relay.host, "port": relay.port}]
        readers = {"name": "readers", "listen": ["tcp:0:interface=127.0.0.1"], "target_role": "READ_ONLY"}
        config = configuration(
            [secret(tmp_path, PLAIN)], targets, group={"topology": {"kind": "replication"}}, endpoints=[readers]
        )
        report = diagnose(config)
        assert report.of("writer").found == "2 targets take writes"
        assert report.of("readers").level is Level.FAIL
        config["target_group"]["topology"]["writer_serves_readers"] = True
        assert diagnose(config).of("readers").level is Level.WARN


def test_few_connections(diagnose: Examiner, small: DatabaseServer, tmp_path: Path) -> None:
    """Of which somebody has some, or all."""
    config = configuration([secret(tmp_path, PLAIN)], [target(small)], group={"max_connections": 8})
    held = [small.admin() for _ in range(5)]
    try:
        found = diagnose(config).of("max_connections")
        assert found.level is Level.WARN
        assert "set max_connections = " in found.remedy
        # As root: one more than there are.
        held += [small.admin() for _ in range(10 + 1 - len(held))]
        report = diagnose(config)
        (failure, *_) = report.failures()
        assert "1040" in failure.found
        assert "raise its max_connections" in failure.remedy
    finally:
        for connection in held:
            connection.close()
