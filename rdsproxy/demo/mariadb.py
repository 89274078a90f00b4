"""MariaDB from the system's packages, as a private server."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from rdsproxy.demo.server import Server, ServerError, ServerMissingError


def mariadb_program(name: str) -> str:
    """Return the path of one of MariaDB's programs; ServerMissingError says how to install it."""
    # Debian keeps mariadbd in /usr/sbin, which is not in every user's PATH.
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerMissingError(
            f"{name} is missing; on Debian: sudo apt-get install mariadb-server-core mariadb-client-core"
        )
    return found


class MariaDB(Server):
    """A private MariaDB server."""

    kind = "mariadb"

    def command(self) -> list[str]:
        """Return the command line of mariadbd."""
        # --no-defaults: the machine's own /etc/mysql must not reach a private server.
        return [mariadb_program("mariadbd"), "--no-defaults", f"--user={_me()}"]

    def initialise(self, data: Path) -> None:
        """Fill ``data`` with MariaDB's own tables and leave root@localhost as the only account."""
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        _run(
            mariadb_program("mariadb-install-db"),
            "--no-defaults",
            f"--user={_me()}",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--force",  # or it insists that the host's own name can be looked up
        )
        # Also made: root without a password for the host's name and for 127.0.0.1 and ::1, which TCP
        # reaches. They go before the server listens for the first time.
        _run(
            *self.command(),
            f"--datadir={data}",
            "--bootstrap",
            sql="DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';\n",
        )


def _me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _run(*command: str, sql: str = "") -> None:
    with tempfile.TemporaryDirectory(prefix="rdsproxy-") as temporary:
        done = subprocess.run(  # noqa: S603 - our own command line
            command,
            input=sql,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            # Not /tmp itself, from which any mariadbd that starts deletes temporary tables.
            env={**os.environ, "TMPDIR": temporary},
        )
    if done.returncode:
        raise ServerError(f"{Path(command[0]).name} failed:\n{done.stdout[-2000:]}")
