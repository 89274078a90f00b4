"""The attackers as a process, and when the proxy is rid of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rdsproxy.demo.server import tied_to_us
from tests.integration.network import until
from tests.integration.proxy import ROOT, Account, Proxy


@contextmanager
def flooding(
    proxy: Proxy,
    account: Account,
    count: int,
    *,
    pause: float,
    kinds: Sequence[str] = (),
    cpus: str = "",
) -> Iterator[dict[str, int]]:
    """Have `count` attackers at the proxy; give how often each kind connected, filled in when the block ends.

    `cpus`: those they may use, in the form of taskset.
    """
    command = [
        *tied_to_us("KILL"),
        *(["taskset", "--cpu-list", cpus] if cpus else []),
        *(sys.executable, "-m", "tests.flood.attackers", "--host", proxy.host, "--port", str(proxy.port)),
        *("--user", account.name, "--count", str(count), "--pause", str(pause)),
        *(["--kinds", ",".join(kinds)] if kinds else []),
    ]
    connected: dict[str, int] = {}
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield connected
        said, _ = process.communicate("", timeout=60)
        connected.update(json.loads(said))
    finally:
        process.kill()
        process.wait()


def until_only(proxy: Proxy, clients: int) -> None:
    """Return when the proxy, which has an admin endpoint, has no more clients than these."""
    until(lambda: proxy.metrics()["rdsproxy_client_connections"] <= clients, "the attackers' connections are closed")
