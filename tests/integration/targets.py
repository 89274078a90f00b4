"""Proxies whose way to the database is out of the ordinary."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.failover.network import TcpRelay
from tests.integration.network import Forwarder
from tests.integration.proxy import Proxy
from tests.servers import DatabaseServer, User


class TargetProxy(Proxy):
    """A proxy with `[target_group.tls]`."""

    def __init__(self, server: DatabaseServer, folder: Path, *, mode: str, ca: Path | None = None, **more: Any) -> None:
        super().__init__(server, folder, **more)
        self._tls = {"mode": mode} if ca is None else {"mode": mode, "ca": str(ca)}

    def _config(self) -> str:
        settings = "".join(f"{name} = {json.dumps(value)}\n" for name, value in self._tls.items())
        return f"{super()._config()}[target_group.tls]\n{settings}"


def behind(forwarder: Forwarder | TcpRelay, server: DatabaseServer, user: User | None = None) -> DatabaseServer:
    """Give what a proxy needs to connect to `server` through `forwarder`, and to look at it as `user`."""
    seen = SimpleNamespace(
        host=forwarder.host, port=forwarder.port, processlist=server.processlist, user=user or server.user
    )
    return cast(DatabaseServer, seen)
