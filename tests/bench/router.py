"""MySQL Router, the other proxy that shares connections between clients."""

from __future__ import annotations

from pathlib import Path

from tests.bench.contestant import POOL, Proxy, first_line
from tests.bench.plan import Workload
from tests.bench.processes import HOST
from tests.servers import DatabaseServer, User, installed_mysql

# Router shares a server connection only if it can log in at the server by itself. For that it has to
# know the client's password, which a client tells it over TLS alone, or the account has none. TLS is
# what no other contestant pays for, so: no password. Logins are cheaper that way, in Router's favour.
NO_PASSWORD = User("nopassword", "")


class Router(Proxy):
    """Router with connection sharing and one I/O thread.

    It shares no connections of MariaDB: it sets ``session_track_gtids`` on each that it takes from
    its pool, which MariaDB refuses (error 1193, seen with Router 9.7 and MariaDB 10.11).
    """

    name = "router"

    def __init__(self) -> None:
        installed = installed_mysql()
        if installed is None:
            self.missing = "MySQL Router is not installed (python -m tests.servers fetches it)"
        else:
            self._program = installed / "bin" / "mysqlrouter"
            self._plugins = installed / "root" / "usr" / "lib" / "mysqlrouter" / "plugin"

    def version(self) -> str:
        """Return Router's version."""
        return " ".join(first_line([str(self._program), "--version"]).split())

    def setting(self, workload: Workload) -> str:
        """Return how it shares connections."""
        return f"connection sharing without delay, {POOL} idle connections kept, 1 I/O thread, user without password"

    def user(self, server: DatabaseServer) -> User:
        """Return the user without password."""
        return NO_PASSWORD

    def command(self, folder: Path, port: int, server: DatabaseServer, workload: Workload, clients: int) -> list[str]:
        """Return the command line of mysqlrouter."""
        config = folder / "router.conf"
        # Its limit of 512 connections by default leaves no room for a client that is just closing.
        config.write_text(f"""\
[DEFAULT]
name=bench
plugin_folder={self._plugins}
logging_folder={folder}
runtime_folder={folder}
data_folder={folder}
max_total_connections=2000
[logger]
level=WARNING
[io]
threads=1
[connection_pool]
max_idle_server_connections={POOL}
[routing:bench]
bind_address={HOST}
bind_port={port}
protocol=classic
routing_strategy=first-available
destinations={HOST}:{server.port}
connection_sharing=1
connection_sharing_delay=0
client_ssl_mode=DISABLED
server_ssl_mode=DISABLED
""")
        return [str(self._program), "-c", str(config)]
