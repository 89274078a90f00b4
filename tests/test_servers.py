"""The servers that the other tests stand on: do they do what their methods say?"""

from __future__ import annotations

import datetime
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymysql
import pytest
from cryptography import x509

from rdsproxy.demo.mariadb import MariaDB as DemoMariaDB
from rdsproxy.demo.mariadb import mariadb_program
from rdsproxy.demo.server import ServerError
from tests.servers import DatabaseServer, MariaDB, ServerMissingError, User, free_port, make_certificates
from tests.servers.mysql_install import InstallError, debian_mirror, install_mysql

if TYPE_CHECKING:
    Connection = pymysql.Connection[pymysql.cursors.Cursor]  # no generic class when it runs


def connect(server: DatabaseServer, user: User, **more: Any) -> Connection:
    connection: Connection = pymysql.connect(
        host=server.host,
        port=server.port,
        user=user.name,
        password=user.password,
        database=server.database,
        **more,
    )
    return connection


def one(connection: Connection, sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    assert row is not None
    return row[0]


def test_kind_and_version_are_the_servers_own(database: DatabaseServer) -> None:
    with connect(database, database.user) as connection:
        assert one(connection, "SELECT VERSION()") == database.version
    assert ("MariaDB" in database.version) == (database.kind == "mariadb")


def test_temporary_files_are_in_the_servers_own_folder(database: DatabaseServer) -> None:
    with connect(database, database.user) as connection:
        assert one(connection, "SELECT @@tmpdir") == str(database.directory)


def test_a_starting_mariadb_does_not_disturb_the_installation_of_another(tmp_path: Path, monkeypatch: Any) -> None:
    seen = tmp_path / "seen"
    program = tmp_path / "mariadb-install-db"
    program.write_text(f'#!/bin/sh\necho "$TMPDIR" > {seen}\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ServerError, match="mariadb-install-db failed"):
        DemoMariaDB(tmp_path / "server").initialise(tmp_path / "data")
    assert Path(seen.read_text().strip()) != Path(tempfile.gettempdir())


def test_the_certificate_is_for_localhost_and_signed_by_the_ca(database: DatabaseServer) -> None:
    tls = {"ca": str(database.ca_path), "check_hostname": True}
    with connect(database, database.user, ssl=tls) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_version'")
        assert cursor.fetchone() == ("Ssl_version", "TLSv1.3")


def test_the_certificate_of_another_ca_is_refused(database: DatabaseServer, tmp_path: Path) -> None:
    other = make_certificates(tmp_path)
    with pytest.raises(pymysql.OperationalError, match="certificate verify failed"):
        connect(database, database.user, ssl={"ca": str(other.ca)})


def test_a_certificate_can_have_expired_or_be_for_another_name(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, ["db.example", "10.1.2.3"], days=-1)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["db.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.1.2.3"]
    assert certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC)
    assert files.private_key.stat().st_mode & 0o777 == 0o600


def test_ed25519_account(mariadb: MariaDB) -> None:
    user = mariadb.create_user("servers_ed25519", "secret", "ed25519")
    with connect(mariadb, user) as connection:
        assert one(connection, "SELECT 1") == 1


def test_wrong_passwords_are_refused(database: DatabaseServer) -> None:
    user = database.create_user("servers_wrong", "right")
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        connect(database, User(user.name, "wrong"))


def test_root_is_reached_through_the_socket_alone(database: DatabaseServer) -> None:
    with pytest.raises(pymysql.OperationalError):
        pymysql.connect(host=database.host, port=database.port, user="root")


def test_processlist_shows_whose_connections_there_are(database: DatabaseServer) -> None:
    user = database.create_user("servers_list", "secret")
    with connect(database, user) as first, connect(database, user):
        listed = database.processlist(user.name)
        assert len(listed) == 2
        assert one(first, "SELECT CONNECTION_ID()") in {process.id for process in listed}
        assert {process.database for process in listed} == {"app"}


def test_a_life(database: DatabaseServer) -> None:
    with type(database)(max_connections=17, options={"wait-timeout": "1234"}) as server:
        server.execute("CREATE TABLE app.t (a INT)", "INSERT INTO app.t VALUES (1)")
        port = server.port
        with connect(server, server.user) as connection:
            assert one(connection, "SELECT @@max_connections") == 17
            assert one(connection, "SELECT @@wait_timeout") == 1234
            server.kill()
            assert not server.running
            with pytest.raises(pymysql.OperationalError):
                one(connection, "SELECT 1")
        server.start()
        assert server.port == port
        with connect(server, server.user) as connection:
            assert one(connection, "SELECT COUNT(*) FROM t") == 1, "a commit outlives kill -9"
            server.pause()
            with pytest.raises(pymysql.OperationalError):
                connect(server, server.user, connect_timeout=1, read_timeout=1)
            server.resume()
            assert one(connection, "SELECT COUNT(*) FROM t") == 1
        server.restart()
        assert server.port == port
        with connect(server, server.user) as connection:
            assert one(connection, "SELECT COUNT(*) FROM t") == 1
        folder = server.directory
    assert not folder.exists()
    assert not server.running


def test_no_server_is_left_when_the_run_is_killed(mariadb: MariaDB) -> None:
    program = (
        "import signal; from tests.servers import MariaDB; server = MariaDB(); server.start();"
        "print(server.pid, flush=True); signal.pause()"
    )
    # What the killed run leaves in its folder for temporary files goes with that folder.
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        )
        assert run.stdout is not None
        with run, run.stdout:
            server = os.pidfd_open(int(run.stdout.readline()))
            run.kill()
            run.wait()
            # A pidfd can be read when its process has ended.
            ended, _, _ = select.select([server], [], [], 30)
            os.close(server)
    assert ended


def test_a_missing_mariadb_is_told_with_what_to_install() -> None:
    with pytest.raises(ServerMissingError, match="apt-get install mariadb-server-core mariadb-client-core"):
        mariadb_program("mariadb-that-nobody-has")


def test_mysql_comes_from_the_machines_own_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    assert urlsplit(debian_mirror()).scheme in ("http", "https", "file")
    monkeypatch.setenv("RDSPROXY_DEBIAN_MIRROR", "file:///somewhere")
    assert debian_mirror() == "file:///somewhere"


def test_no_network_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDSPROXY_CACHE", str(tmp_path))
    monkeypatch.setenv("RDSPROXY_DEBIAN_MIRROR", f"http://127.0.0.1:{free_port()}/debian")
    with pytest.raises(InstallError, match="is the network there") as caught:
        install_mysql()
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["mysql.lock"], "nothing half made is left"
