"""This checkout's proxy, run as its users run it."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import twisted
from rdsproxy import shortcut
from rdsproxy.protocol.walk import walk, walk_python
from tests.bench.contestant import BACKLOG, Proxy
from tests.bench.plan import Workload
from tests.bench.processes import HOST
from tests.servers import DatabaseServer

ROOT = Path(__file__).resolve().parents[2]


class RdsProxy(Proxy):
    """rdsproxy under twistd."""

    name = "rdsproxy"

    def __init__(self, profile: Path | None = None) -> None:
        """``profile`` is a file for what cProfile counts until the proxy is stopped."""
        self._profile = profile

    def version(self) -> str:
        """Return the versions of what it runs on, and whether its compiled helpers are there."""
        helpers = "with" if walk is not walk_python and shortcut.install() else "without"
        return f"{helpers} the compiled helpers, Python {platform.python_version()}, Twisted {twisted.__version__}"

    def setting(self, workload: Workload) -> str:
        """Return how large its pool is."""
        return f"{workload.connections} database connections"

    def command(self, folder: Path, port: int, server: DatabaseServer, workload: Workload, clients: int) -> list[str]:
        """Return the command line of twistd."""
        secret = {"username": server.user.name, "password": server.user.password}
        (folder / "secret.json").write_text(json.dumps(secret))
        # Clients log in as they do at the database itself. No TLS on either side, as without a proxy.
        plugin = "MYSQL_NATIVE_PASSWORD" if server.kind == "mariadb" else "MYSQL_CACHING_SHA2_PASSWORD"
        config = folder / "proxy.toml"
        config.write_text(f"""\
[proxy]
name = "bench"
[[proxy.endpoints]]
name = "default"
listen = ["tcp:{port}:interface={HOST}:backlog={BACKLOG}"]
[[proxy.auth]]
secret = "file:secret.json"
client_password_auth_type = "{plugin}"
[target_group]
max_connections = {workload.connections}
[target_group.tls]
mode = "DISABLED"
[[target_group.targets]]
host = "{HOST}"
port = {server.port}
""")
        profile = []
        if self._profile:
            profile = [f"--profile={self._profile}", "--profiler=cprofile", "--savestats"]
        return twistd(config, *profile)


def twistd(config: Path, *options: str) -> list[str]:
    """Return the command line of the proxy with this configuration; ``options`` are twistd's."""
    program = Path(sys.executable).with_name("twistd")
    # env: this checkout's rdsproxy, whatever else is installed.
    return [
        *("env", f"PYTHONPATH={ROOT}", str(program)),
        *("--nodaemon", "--pidfile=", *options, "rdsproxy", f"--config={config}"),
    ]
