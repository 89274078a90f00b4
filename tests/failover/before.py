"""A proxy before servers that replicate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.failover.dialects import MONITOR
from tests.failover.replication import ReplicationSet
from tests.integration.proxy import Proxy
from tests.servers import DatabaseServer

Servers = ReplicationSet[DatabaseServer]


def before(
    servers: Servers,
    folder: Path,
    *,
    targets: Sequence[Mapping[str, object]] | None = None,
    topology: Mapping[str, object] | None = None,
    max_connections: int = 8,
    **more: Any,
) -> Proxy:
    """Give a proxy that follows the writer of ``servers``, or of the ``targets`` that lead to them.

    Its settings are the defaults, but for a short check_timeout: the tests have no time for a whole second.
    """
    monitor = folder / "monitor-of-all.json"
    monitor.write_text(json.dumps({"username": MONITOR.name, "password": MONITOR.password}))
    proxy = Proxy(
        servers.primary,
        folder,
        max_connections=max_connections,
        targets=targets or [{"host": server.host, "port": server.port} for server in servers.servers],
        topology={
            "kind": "replication",
            "monitor_secret": f"file:{monitor}",
            "check_interval": 1,
            "check_timeout": 0.5,
            **(topology or {}),
        },
        target_group={"connection_borrow_timeout": 60, **more.pop("target_group", {})},
        **more,
    )
    proxy.secrets.add(MONITOR.password)
    return proxy


def follows(proxy: Proxy, server: DatabaseServer) -> None:
    """Wait until the proxy leads its clients to ``server``."""
    place = f"{server.host}:{server.port}"
    proxy.wait_for_log(
        lambda line: line.get("event") in ("writer found", "the writer is back", "failover completed")
        and line["target"] == place
    )
