"""MariaDB from the system's packages, for the tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rdsproxy.demo import mariadb
from tests.servers.base import DatabaseServer, User


class MariaDB(DatabaseServer, mariadb.MariaDB):
    """A private MariaDB: mysql_native_password by default, and ed25519."""

    default_plugin = "mysql_native_password"

    def own_options(self) -> dict[str, str | None]:
        """Return the options that MariaDB needs in the tests."""
        return {"innodb-log-file-size": "64M", "aria-log-file-size": "8M"}

    def create_tables(self, data: Path) -> None:
        """Fill ``data`` with mariadb-install-db."""
        mariadb.MariaDB.initialise(self, data)

    def create_user_statement(self, user: User, plugin: str) -> str:
        """Return the CREATE USER statement in MariaDB's words."""
        return f"CREATE USER '{user.name}'@'%' IDENTIFIED VIA {plugin} USING PASSWORD('{user.password}')"

    def setup_statements(self) -> list[str]:
        """Load the plugin for ed25519."""
        return ["INSTALL SONAME 'auth_ed25519'"]

    def program_version(self) -> str:
        """Return the version line of mariadbd."""
        program = mariadb.mariadb_program("mariadbd")
        return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
