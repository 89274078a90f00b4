"""A server that an earlier run left behind, because it was killed before it could stop it."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from rdsproxy.demo.server import Server, ServerError


def stop_leftover(server: Server, timeout: float = 30.0) -> bool:
    """Stop the process that still uses the server's data; tell whether there was one.

    Raises ServerError if it is still there after ``timeout`` seconds.
    """
    pid = _leftover_pid(server)
    if pid is None:
        return False
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        # A pidfd can be read when its process has ended.
        if not select.select([process], [], [], timeout)[0]:
            raise ServerError(f"process {pid} uses {server.data} and does not stop; see {server.log}")
    except ProcessLookupError:
        pass
    finally:
        os.close(process)
    return True


def _leftover_pid(server: Server) -> int | None:
    try:
        pid = int(server.pid_file.read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    # The number may belong to another process by now.
    return pid if os.fsencode(f"--datadir={server.data}") in arguments else None
