"""What the user that looks at the targets needs there."""

from __future__ import annotations

from typing import Final

from rdsproxy.config import Config

REPLICA_STATUS: Final = "REPLICATION CLIENT (MySQL) or REPLICA MONITOR (MariaDB)"
"""The privilege for SHOW REPLICA STATUS."""


def sees_replication(config: Config) -> bool:
    """Whether the state of replicas is of use: somebody reads there. Servers of Aurora tell it without a privilege."""
    topology = config.target_group.topology
    if topology.kind == "aurora":
        return False
    readers = any(endpoint.target_role == "READ_ONLY" for endpoint in config.proxy.endpoints)
    return readers or topology.max_replica_lag is not None
