"""The command lines of MariaDB and of MySQL through the proxy."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from rdsproxy.demo.mariadb import mariadb_program
from tests.integration.proxy import NATIVE, SHA2, Account, Proxy
from tests.servers import Certificates, DatabaseServer, ServerMissingError, install_mysql

TIMEOUT = 60.0  # seconds
LARGE = 20 << 20  # bytes; more than one packet can carry

# What both command lines and both servers understand; what it prints tells of nearly all that a reply can say.
SCRIPT = """\
CREATE TABLE {table}_s (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(10), number DECIMAL(10,2));
INSERT INTO {table}_s (text, number) VALUES ('ä€😀', 1.50), (NULL, NULL), ('', 0);
SELECT * FROM {table}_s ORDER BY id;
SELECT * FROM {table}_s WHERE id > 3;
UPDATE {table}_s SET text = 'ä€😀';
UPDATE {table}_s SET number = 7 WHERE text = 'missing';
UPDATE IGNORE {table}_s SET text = 'longer than ten' WHERE id = 3;
SELECT 1/0, CAST('12x' AS SIGNED);
SHOW WARNINGS;
INSERT INTO {table}_s (id) VALUES (1);
SELECT * FROM {table}_missing;
SYNTAX ERROR;
SHOW ERRORS;
START TRANSACTION;
DELETE FROM {table}_s;
SELECT COUNT(*) FROM {table}_s;
ROLLBACK;
SELECT COUNT(*) FROM {table}_s;
delimiter //
CREATE PROCEDURE {table}_p(IN n INT, OUT doubled INT)
BEGIN
    SELECT 1 AS one, 'a' AS letter;
    SELECT 2 AS two WHERE n > 100;
    SET doubled = 2 * n;
END //
delimiter ;
CALL {table}_p(21, @doubled);
SELECT @doubled;
PREPARE prepared FROM 'SELECT ? + 1 AS sum';
SET @a = 41;
EXECUTE prepared USING @a;
DEALLOCATE PREPARE prepared;
use mysql
SELECT DATABASE();
use app
SELECT DATABASE();
DROP PROCEDURE {table}_p;
DROP TABLE {table}_s;
"""


@dataclass(frozen=True)
class CommandLine:
    """One of the two programs."""

    kind: Literal["mariadb", "mysql"]
    program: str

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts that it can log in to: MySQL's has no native passwords any more."""
        return (NATIVE, SHA2) if self.kind == "mariadb" else (SHA2,)

    def run(
        self,
        to: Proxy | DatabaseServer,
        script: str,
        *options: str,
        account: Account = SHA2,
        password: str = "",
        tls: Certificates | None = None,
        database: str = "app",
    ) -> subprocess.CompletedProcess[str]:
        """Run ``script``, in batch mode, as ``account``; ``password`` is another than its own."""
        command = [
            self.program,
            "--no-defaults",
            f"--host={to.host}",
            f"--port={to.port}",
            f"--user={account.name}",
            "--batch",
            *self._character_set(to),
            *self._tls(tls),
            *options,
            *([database] if database else []),
        ]
        return subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env={**os.environ, "MYSQL_PWD": password or account.password},
        )

    def rows(self, to: Proxy | DatabaseServer, script: str, *options: str) -> list[list[str]]:
        """Run ``script``, which must succeed, and give the rows that it prints."""
        done = self.run(to, script, "--skip-column-names", *options)
        assert (done.returncode, done.stderr) == (0, "")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def _character_set(self, to: Proxy | DatabaseServer) -> Sequence[str]:
        options = ["--default-character-set=utf8mb4"]
        if self.kind == "mysql":
            options.append("--loose-commands")  # from 9.6 on they are off where nobody types
            if "MariaDB" in (to.server if isinstance(to, Proxy) else to).version:
                # MariaDB does not know the collation that the program asks for, and takes its own default.
                options.append("--init-command=SET NAMES utf8mb4")
        return options

    def _tls(self, tls: Certificates | None) -> Sequence[str]:
        match self.kind, tls:
            case "mariadb", None:
                return ["--skip-ssl"]
            case "mysql", None:
                return ["--ssl-mode=DISABLED", "--get-server-public-key"]
            case "mariadb", Certificates(ca=ca):
                return ["--ssl", f"--ssl-ca={ca}", "--ssl-verify-server-cert"]
            case "mysql", Certificates(ca=ca):
                return ["--ssl-mode=VERIFY_IDENTITY", f"--ssl-ca={ca}"]
        raise AssertionError


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def client(request: pytest.FixtureRequest) -> CommandLine:
    """Each of the programs."""
    try:
        if request.param == "mariadb":
            return CommandLine("mariadb", mariadb_program("mariadb"))
        return CommandLine("mysql", str(install_mysql() / "bin" / "mysql"))
    except ServerMissingError as error:
        # On a developer's machine the rest is still worth running; in CI nothing may be left out.
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificates: Certificates) -> Certificates | None:
    """Without TLS, and with it and the proxy's certificate verified."""
    return certificates if request.param else None


def test_login(client: CommandLine, proxy: Proxy, tls: Certificates | None) -> None:
    for account in client.accounts:
        done = client.run(proxy, "status", account=account, tls=tls)
        assert (done.returncode, done.stderr) == (0, "")
        status = {name: value.strip() for name, _, value in (row.partition(":") for row in done.stdout.splitlines())}
        assert status["Current user"].split("@")[0] == account.name
        assert status["Current database"] == "app"
        assert status["SSL"].startswith("Cipher in use" if tls else "Not in use")
        assert status["Server version"].split()[0].removeprefix("5.5.5-") == proxy.server.version
        assert status["Client characterset"] == status["Conn.  characterset"] == "utf8mb4"
        assert any(name.startswith("Threads") for name in status)


def test_login_denied(client: CommandLine, proxy: Proxy, tls: Certificates | None) -> None:
    """A wrong password and an unknown user look alike."""
    for account in (*client.accounts, Account("nobody", "none", SHA2.plugin)):
        done = client.run(proxy, "SELECT 1", account=account, password="wrong", tls=tls)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr == (
            f"ERROR 1045 (28000): Access denied for user '{account.name}'@'{proxy.host}' (using password: YES)\n"
        )


def test_login_to_an_unknown_schema(client: CommandLine, proxy: Proxy) -> None:
    done = client.run(proxy, "SELECT 1", database="missing")
    assert done.stderr == "ERROR 1049 (42000): Unknown database 'missing'\n"


def test_a_script_prints_what_it_prints_without_the_proxy(
    client: CommandLine, proxy: Proxy, server: DatabaseServer, table: str, tls: Certificates | None
) -> None:
    options = ("-vvv", "--table", "--force", "--show-warnings", "--column-type-info", "--auto-rehash")
    script = SCRIPT.format(table=table)
    through = untimed(client.run(proxy, script, *options, tls=tls))
    for line in (
        "Query OK, 3 rows affected\nRecords: 3  Duplicates: 0  Warnings: 0",
        "Rows matched: 3  Changed: 2  Warnings: 0",
        "1 row in set, 2 warnings",
        "0 rows in set",
        "ERROR 1062 (23000)",
        "ERROR 1146 (42S02)",
        "ERROR 1064 (42000)",
    ):
        assert line in through
    if client.kind != server.kind == "mariadb":
        return  # MySQL's own program cannot log in to MariaDB directly: it has no native passwords
    assert through == untimed(client.run(server, script, *options))


def untimed(done: subprocess.CompletedProcess[str]) -> str:
    """Give what a program has said, without how long statements took."""
    return re.sub(r" \((\d+ min )?[\d.]+ sec\)", "", done.stdout) + done.stderr


def test_multi_statements_as_one_command(client: CommandLine, proxy: Proxy, table: str) -> None:
    """With another delimiter the program sends it all at once."""
    script = f"INSERT INTO {table} (value) VALUES (1); SELECT value FROM {table}; SELECT 'x'; DO 1; SELECT 2 //"
    assert client.rows(proxy, script, "--delimiter=//") == [["1"], ["x"], ["2"]]


def test_load_data_local(client: CommandLine, proxy: Proxy, table: str, tmp_path: Path) -> None:
    path = tmp_path / "values.tsv"
    path.write_text("".join(f"{number}\tä€😀 {number}\n" for number in range(10_000)))
    load = f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} CHARACTER SET utf8mb4 (value, text);\n"
    done = client.run(proxy, load, "-vv", "--local-infile=1")
    assert done.returncode == 0, done.stderr
    assert "Records: 10000  Deleted: 0  Skipped: 0  Warnings: 0" in done.stdout
    count = f"SELECT COUNT(*), SUM(value), MAX(text) FROM {table}"
    assert client.rows(proxy, count) == [["10000", "49995000", "ä€😀 9999"]]
    # A file that is not there: the program sends an empty one and says so itself.
    path.unlink()
    done = client.run(proxy, load + "SELECT 'goes on';", "--local-infile=1", "--force")
    assert str(path) in done.stderr
    assert "goes on" in done.stdout


def test_load_data_local_where_the_program_does_not_offer_it(
    client: CommandLine, proxy: Proxy, table: str, tmp_path: Path
) -> None:
    path = tmp_path / "values.tsv"
    path.write_text("1\n")
    done = client.run(proxy, f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} (value)", "--local-infile=0")
    assert done.returncode == 1
    assert "ERROR " in done.stderr
    assert client.rows(proxy, f"SELECT COUNT(*) FROM {table}") == [["0"]]


def test_reset_connection(client: CommandLine, proxy: Proxy) -> None:
    if client.kind == "mysql":  # the other has no such command
        script = "SET @a = 1, sql_mode = 'ANSI'; \\x\nSELECT @a, @@sql_mode LIKE '%ANSI%', DATABASE();"
        assert client.rows(proxy, script) == [["NULL", "0", "app"]]


def test_connect_again(client: CommandLine, proxy: Proxy) -> None:
    assert client.rows(proxy, "SET @a = 1; \\r\nSELECT @a, DATABASE();")[-1] == ["NULL", "app"]


@pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
def test_compression(
    client: CommandLine, proxy: Proxy, table: str, tmp_path: Path, tls: Certificates | None, algorithm: str
) -> None:
    """Results, long statements and files."""
    if client.kind == "mysql":
        option = f"--compression-algorithms={algorithm}"
    elif algorithm == "zlib":
        option = "--compress"
    else:
        pytest.skip("MariaDB's has zlib only")
    done = client.run(proxy, "status", option, tls=tls)
    assert "Compressed" in done.stdout, done.stderr
    path = tmp_path / "values.tsv"
    path.write_text("".join(f"{number}\t{'value ' * 9}\n" for number in range(10000)))
    noise = "".join(hashlib.sha256(b"%d" % number).hexdigest() for number in range(5000))
    script = (
        f"SELECT '{noise}', REPEAT('x', 100000); SELECT 'short';"
        f" LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} (value, text); SELECT COUNT(*), SUM(value) FROM {table}"
    )
    done = client.run(proxy, script, option, "--skip-column-names", "--local-infile=1", tls=tls)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{noise}\t{'x' * 100000}", "short", "10000\t49995000"]


def test_a_large_value_both_ways(client: CommandLine, proxy: Proxy) -> None:
    """One statement and one row, each of more than a packet."""
    value = hashlib.sha256(b"").hexdigest() * (LARGE // 64)
    ((echo,),) = client.rows(proxy, f"SELECT '{value}'", "--max-allowed-packet=64M")
    assert hashlib.sha256(echo.encode()).digest() == hashlib.sha256(value.encode()).digest()


def test_many_rows_one_by_one(client: CommandLine, proxy: Proxy) -> None:
    """--quick prints rows as they come."""
    digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4)"
    tables = ", ".join(f"{digits} t{number}" for number in range(6))
    sql = f"SELECT t0.d + 5*t1.d + 25*t2.d + 125*t3.d + 625*t4.d + 3125*t5.d, REPEAT('x', 100) FROM {tables}"
    printed = client.rows(proxy, sql, "--quick")
    assert {int(number) for number, _ in printed} == set(range(5**6))
    assert len(printed) == 5**6
