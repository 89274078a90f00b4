"""HAProxy, which passes bytes on and knows nothing of MySQL."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.bench.contestant import BACKLOG, Proxy, first_line
from tests.bench.plan import Workload
from tests.bench.processes import HOST
from tests.servers import DatabaseServer


class HAProxy(Proxy):
    """HAProxy in TCP mode with one thread: about the least that a proxy can cost."""

    name = "haproxy"

    def __init__(self) -> None:
        if not shutil.which("haproxy"):
            self.missing = "HAProxy is not installed (Debian: apt-get install haproxy)"

    def version(self) -> str:
        """Return HAProxy's version."""
        return first_line(["haproxy", "-v"]).partition(" - ")[0]

    def setting(self, workload: Workload) -> str:
        """Every client has a connection."""
        return "TCP mode, 1 thread, one database connection per client"

    def command(self, folder: Path, port: int, server: DatabaseServer, workload: Workload, clients: int) -> list[str]:
        """Return the command line of haproxy."""
        config = folder / "haproxy.cfg"
        config.write_text(f"""\
global
  nbthread 1
  maxconn 2000
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend clients
  bind {HOST}:{port} backlog {BACKLOG}
  default_backend database
backend database
  server database {HOST}:{server.port}
""")
        return ["haproxy", "-db", "-f", str(config)]
