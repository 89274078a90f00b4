"""MySQL 9, unpacked from Debian's packages, for the tests."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from rdsproxy.demo.server import ServerError
from tests.servers.base import FAST, DatabaseServer, User, arguments
from tests.servers.mysql_install import install_mysql


class MySQL(DatabaseServer):
    """A private MySQL: caching_sha2_password alone."""

    kind = "mysql"
    default_plugin = "caching_sha2_password"

    def command(self) -> list[str]:
        """Return the command line of mysqld."""
        folder = install_mysql()
        root = folder / "root" / "usr"
        return [
            str(folder / "bin" / "mysqld"),
            "--no-defaults",
            f"--user={pwd.getpwuid(os.geteuid()).pw_name}",
            f"--basedir={root}",
            f"--lc-messages-dir={root / 'share/mysql'}",
            f"--character-sets-dir={root / 'share/mysql/charsets'}",
            f"--plugin-dir={root / 'lib/mysql/plugin'}",
            "--secure-file-priv=",  # the folder it was compiled for is not there
        ]

    def own_options(self) -> dict[str, str | None]:
        """Return the options that MySQL needs in the tests."""
        # mysqlx listens on a port of its own.
        return {"mysqlx": "OFF", "innodb-redo-log-capacity": "64M"}

    def create_tables(self, data: Path) -> None:
        """Fill ``data`` with mysqld --initialize-insecure; raise ServerError if that fails."""
        settings = {**FAST, **self.own_options()}
        done = subprocess.run(
            [*self.command(), "--initialize-insecure", f"--datadir={data}", *arguments(settings)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ServerError(f"mysqld --initialize-insecure failed:\n{done.stderr[-2000:]}")

    def create_user_statement(self, user: User, plugin: str) -> str:
        """Return the CREATE USER statement in MySQL's words."""
        return f"CREATE USER '{user.name}'@'%' IDENTIFIED WITH {plugin} BY '{user.password}'"

    def setup_statements(self) -> list[str]:
        """Let statements read their query attributes."""
        return ["INSTALL COMPONENT 'file://component_query_attributes'"]

    def program_version(self) -> str:
        """Return the name of the unpacked version's folder."""
        return install_mysql().name
