"""As many open files as clients may need: where there are fewer, a crowd would leave none for databases and secrets."""

from __future__ import annotations

import resource
from typing import Final

import structlog

BESIDE_CLIENTS: Final = 1_000
"""Open files for database connections, secrets, threads and logs."""

_log = structlog.get_logger("rdsproxy.service")


def allow_open_files(clients: int) -> None:
    """Raise the soft limit of this process, as mysqld does; say in the log where the hard limit is too low for that."""
    wanted = clients + BESIDE_CLIENTS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warning("open files may run out before max_client_connections", limit=allowed, wanted=wanted)
