"""Whether the proxy could listen where it should."""

from __future__ import annotations

from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, ENOENT
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ServerFactory

from rdsproxy.config import Config
from rdsproxy.doctor.finding import Finding, fail, ok, warn
from rdsproxy.listening import ListenError, listen

_REMEDIES = {
    EACCES: "ports below 1024 want root, or CAP_NET_BIND_SERVICE; a Unix socket a folder that the proxy may write to",
    EADDRNOTAVAIL: "interface must be an address of this machine",
    ENOENT: "make the folder",
}


class _Nobody(ServerFactory):
    """Serves no one: it listens for a moment."""

    noisy = False

    def buildProtocol(self, addr: object) -> None:
        """Refuse."""


async def check_ports(config: Config, reactor: Any) -> list[Finding]:
    """Listen everywhere for a moment."""
    places = [description for endpoint in config.proxy.endpoints for description in endpoint.listen]
    if config.admin is not None:
        places.append(config.admin.listen)
    return [await _check(description, reactor) for description in places]


async def _check(description: str, reactor: Any) -> Finding:
    subject = f"listen {description}"
    if description.removeprefix("haproxy:").startswith("systemd:"):
        return ok(subject, "not tried: systemd passes this socket to the proxy alone")
    ports: list[IListeningPort] = []
    try:
        listen(description, _Nobody(), ports, reactor)
    except ListenError as error:
        if error.errno == EADDRINUSE:
            return warn(subject, "it is in use", "fine if the proxy runs already; else stop what has it, or change it")
        return fail(subject, error.reason, _REMEDIES.get(error.errno or 0, "see listen in the configuration reference"))
    for port in ports:
        await maybeDeferred(port.stopListening)
    return ok(subject, "free")
