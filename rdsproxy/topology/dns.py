"""One name whose address moves, as the endpoint of a Multi-AZ instance does. TTLs are not trusted: it is asked anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import AF_INET6, inet_ntop
from typing import Any, Final

import structlog
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IDelayedCall, IHostResolution, IResolutionReceiver
from twisted.names import client, dns
from twisted.python.failure import Failure
from zope.interface import implementer

from rdsproxy.topology.target import Place, Target
from rdsproxy.topology.watch import FAST

_TIMEOUT: Final = 2.0
"""Seconds for an answer."""

_log = structlog.get_logger("rdsproxy.topology")

Lookup = Callable[[str], "Deferred[list[str]]"]
"""Gives the addresses of a name; none if it has none. Fails with whatever the resolver fails with."""


class Named:
    """The addresses that a name has."""

    def __init__(self, host: str, port: int, lookup: Lookup, interval: float, reactor: Any) -> None:
        self._host = host
        self._port = port
        self._lookup = lookup
        self._interval = interval
        self._reactor = reactor
        self._found: Callable[[Sequence[Place]], None] | None = None
        self._addresses: list[str] = []
        self._looking: Deferred[None] | None = None
        self._next: IDelayedCall | None = None
        self._hurries = False
        self._failed = False

    def start(self, found: Callable[[Sequence[Place]], None]) -> None:
        """Begin to look."""
        self._found = found
        self._look()

    def hurry(self) -> None:
        """Look again now."""
        self._hurries = True
        if self._next is not None and self._next.getTime() - self._reactor.seconds() > FAST:
            self._next.reset(0)

    def seen(self, targets: Sequence[Target]) -> None:
        """While no target answers the name may move any moment."""
        if not any(target.available for target in targets):
            self.hurry()

    def _look(self) -> None:
        self._next = None
        self._hurries = False
        looking = self._lookup(self._host).addTimeout(_TIMEOUT, self._reactor)
        self._looking = looking.addCallbacks(self._told, self._not_told)

    def _told(self, addresses: list[str]) -> None:
        self._schedule()
        self._failed = False
        if not addresses or self._found is None:
            return  # a name without addresses is a mistake in the zone, or a moment between two states of it
        if sorted(addresses) != sorted(self._addresses):
            self._addresses = addresses
            self._found([Place(address, self._port, self._host) for address in addresses])

    def _not_told(self, failure: Failure) -> None:
        if failure.check(CancelledError) and self._found is None:
            return
        self._schedule()
        if not self._failed:
            self._failed = True
            _log.warning("the name of the target cannot be resolved; its last addresses are used", host=self._host,
                         reason=failure.type.__name__ if failure.type else "")

    def _schedule(self) -> None:
        self._looking = None
        if self._found is not None:
            self._next = self._reactor.callLater(FAST if self._hurries else self._interval, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._found = None
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._looking is not None:
            self._looking.cancel()


def system_lookup(reactor: Any) -> Lookup:
    """Ask the system's resolver, which asks on a thread of its own."""

    def lookup(host: str) -> Deferred[list[str]]:
        receiver = _Receiver()
        reactor.nameResolver.resolveHostName(receiver, host)
        return receiver.complete

    return lookup


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self) -> None:
        self.complete: Deferred[list[str]] = Deferred()
        self._addresses: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Wait for addresses."""

    def addressResolved(self, address: IAddress) -> None:
        """Note one."""
        if isinstance(address, IPv4Address | IPv6Address) and address.host not in self._addresses:
            self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        """Give them."""
        self.complete.callback(self._addresses)


def server_lookup(servers: Sequence[tuple[str, int]], reactor: Any) -> Lookup:
    """Ask these DNS servers, at each look anew."""
    resolver = client.Resolver(servers=list(servers), timeout=(1, 1), reactor=reactor)

    def lookup(host: str) -> Deferred[list[str]]:
        both = DeferredList(
            [resolver.lookupAddress(host), resolver.lookupIPV6Address(host)], consumeErrors=True
        )
        return both.addCallback(_addresses)

    return lookup


def _addresses(results: list[tuple[bool, Any]]) -> list[str]:
    found: list[str] = []
    for succeeded, result in results:
        if not succeeded:
            continue
        for record in result[0]:
            payload = record.payload
            if isinstance(payload, dns.Record_A):
                found.append(payload.dottedQuad())
            elif isinstance(payload, dns.Record_AAAA):
                found.append(inet_ntop(AF_INET6, payload.address))
    failures = [result for succeeded, result in results if not succeeded]
    if not found and failures:
        failures[0].raiseException()
    return found
