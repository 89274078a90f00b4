"""The clients: the rows of docs/compatibility.md, and how to run each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rdsproxy.demo.mariadb import mariadb_program
from tests.drivers.build import built
from tests.integration.node.install import install_drivers, node_program
from tests.servers.mysql_install import install_mysql

HERE = Path(__file__).parent
DOC = "/usr/share/doc"  # Debian keeps each package's copyright there

PACKAGES = {
    "php": {"php-cli": "php", "php-mysql": f"{DOC}/php-mysql/copyright"},
    "laravel": {"php-illuminate-database": f"{DOC}/php-illuminate-database/copyright"},
    "perl": {
        "libdbd-mysql-perl": f"{DOC}/libdbd-mysql-perl/copyright",
        "libdbd-mariadb-perl": f"{DOC}/libdbd-mariadb-perl/copyright",
    },
    "ruby": {"ruby-mysql2": f"{DOC}/ruby-mysql2/copyright"},
    "rails": {"ruby-activerecord": f"{DOC}/ruby-activerecord/copyright"},
    "go": {
        "golang-go": "go",
        "golang-github-go-sql-driver-mysql-dev": "/usr/share/gocode/src/github.com/go-sql-driver/mysql",
    },
    "java": {"default-jdk-headless": "javac", "libmariadb-java": "/usr/share/java/mariadb-java-client.jar"},
}
"""Debian's packages for a language, each with a file or a program that it brings."""


class ClientMissingError(Exception):
    """A client cannot be had on this machine; the message says what to install."""


@dataclass(frozen=True)
class Client:
    """A row of the table."""

    name: str
    command: Callable[[], list[str]]
    """Gives the command line that runs it. Raises ClientMissingError."""
    servers: tuple[str, ...] = ("mariadb", "mysql")
    """The kinds of server that it is run against."""
    found_rows: bool = False
    """Whether it logs in with CLIENT_FOUND_ROWS."""
    processes: int = 2
    """How many of it run at once."""


def need(language: str) -> None:
    """Raise ClientMissingError unless the packages of ``language`` are there."""
    missing = [
        package for package, proof in PACKAGES[language].items() if not (Path(proof).exists() or shutil.which(proof))
    ]
    if missing:
        raise ClientMissingError(f"missing for {language} (Debian: sudo apt-get install {' '.join(missing)})")


def python(program: str, module: str, *arguments: str) -> Callable[[], list[str]]:
    """Give the command line of a Python program that needs ``module``."""

    def command() -> list[str]:
        if find_spec(module) is None:
            raise ClientMissingError(f"Python's {module} is missing: make test installs it where it can")
        return [sys.executable, "-m", f"tests.drivers.python.{program}", *arguments]

    return command


def script(language: str, program: str, file: str, *arguments: str) -> Callable[[], list[str]]:
    """Give the command line of a program that an interpreter runs."""

    def command() -> list[str]:
        need(language)
        return [program, str(HERE / file), *arguments]

    return command


def node(*arguments: str) -> list[str]:
    """Give the command line of Node. Raises DriversMissingError."""
    return ["env", f"NODE_PATH={install_drivers()}", node_program(), str(HERE / "node" / "client.js"), *arguments]


def go() -> list[str]:
    """Give the command line of Go's program, compiled if it is not in the cache."""
    need("go")
    environment = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "CGO_ENABLED": "0"}
    folder = built(HERE / "go" / "client.go", ["go", "build", "-o", "{out}/client"], environment)
    return [str(folder / "client")]


def java() -> list[str]:
    """Give the command line of Java's program, compiled if it is not in the cache."""
    need("java")
    folder = built(HERE / "java" / "Client.java", ["javac", "-d", "{out}"], {})
    # The little that it does is not worth the second compiler.
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    return ["java", *quick, "-cp", f"{folder}:/usr/share/java/mariadb-java-client.jar", "Client"]


def mapper(name: str, command: Callable[[], list[str]], *, found_rows: bool = True) -> Client:
    """Give an object-relational mapper."""
    return Client(name, command, found_rows=found_rows, processes=1)


def imitated(name: str, statements: str) -> Client:
    """Give the script of ``statements`` that another client is known to send."""
    return Client(name, python("imitated", "mysql.connector", statements), processes=1)


def dump(name: str, what: str, kind: Literal["mariadb", "mysql"]) -> Client:
    """Give a database's own programs: ``what`` is dump or load."""

    def command() -> list[str]:
        # Debian's mysqldump is MariaDB's; MySQL's own are those that its server came with.
        folder = install_mysql() / "bin" if kind == "mysql" else Path(mariadb_program(kind)).parent
        program = "mysqldump" if kind == "mysql" else "mariadb-dump"
        return [*python("dump", "tests", what)(), str(folder / kind), str(folder / program)]

    return Client(name, command, (kind,), processes=1)


CLIENTS = [
    # Drivers: two processes at once.
    Client("PyMySQL", python("dbapi", "pymysql", "pymysql")),
    Client("mysqlclient", python("dbapi", "MySQLdb", "mysqlclient")),
    Client("mysql-connector-python, C", python("dbapi", "_mysql_connector", "connector-c")),
    Client("mysql-connector-python, pure", python("dbapi", "mysql.connector", "connector-pure")),
    Client("MariaDB Connector/Python", python("dbapi", "mariadb", "mariadb")),
    Client("aiomysql", python("asynchronous", "aiomysql", "aiomysql")),
    Client("asyncmy", python("asynchronous", "asyncmy", "asyncmy")),
    Client("Node mysql2", lambda: node("mysql2"), found_rows=True),
    Client("Node mariadb", lambda: node("mariadb"), found_rows=True),
    Client("PHP PDO", script("php", "php", "php/client.php", "pdo")),
    Client("PHP PDO, emulated prepares", script("php", "php", "php/client.php", "pdo-emulated")),
    Client("Perl DBD::mysql", script("perl", "perl", "perl/client.pl", "mysql"), found_rows=True),
    Client("Perl DBD::MariaDB", script("perl", "perl", "perl/client.pl", "MariaDB"), found_rows=True),
    Client("Ruby mysql2", script("ruby", "ruby", "ruby/client.rb")),
    Client("Go go-sql-driver", go),
    Client("MariaDB Connector/J", java, found_rows=True),
    # What drivers carry.
    mapper("SQLAlchemy, PyMySQL", python("alchemy", "sqlalchemy", "pymysql")),
    mapper("SQLAlchemy, mysqlclient", python("alchemy", "sqlalchemy", "mysqldb")),
    mapper("SQLAlchemy, asyncmy", python("alchemy_asynchronous", "sqlalchemy", "asyncmy")),
    mapper("Django, mysqlclient", python("django_models", "django")),
    mapper("Laravel's Eloquent, PDO", script("laravel", "php", "php/laravel.php"), found_rows=False),
    mapper("Rails' ActiveRecord, mysql2", script("rails", "ruby", "ruby/rails.rb", "text")),
    mapper("Rails' ActiveRecord, mysql2, prepared", script("rails", "ruby", "ruby/rails.rb", "prepared")),
    imitated("Hibernate on MySQL Connector/J, imitated", "connector-j"),
    imitated("SHOW WARNINGS after a warning, imitated", "warnings"),
    imitated("Prisma, imitated", "prisma"),
    imitated("WordPress, imitated", "wordpress"),
    dump("mariadb-dump --single-transaction", "dump", "mariadb"),
    dump("mariadb-dump, and mariadb loading the dump", "load", "mariadb"),
    dump("mysqldump --single-transaction", "dump", "mysql"),
    dump("mysqldump, and mysql loading the dump", "load", "mysql"),
]
