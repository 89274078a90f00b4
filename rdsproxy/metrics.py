"""What the proxy counts, as Prometheus reads it: RDS Proxy's own metrics under their CloudWatch names, and some more.

Nothing is computed while the proxy works: the parts add to plain integers, and a scrape looks at them and at who is
there. For ten thousand clients that takes a few milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rdsproxy.frontend.connection import ClientConnection
from rdsproxy.frontend.door import Door
from rdsproxy.pool.durations import BOUNDS
from rdsproxy.session.pinning import PinReason, reasons_in
from rdsproxy.session.session import IN_TRANSACTION
from rdsproxy.topology.group import Group

_REASONS: Final = tuple(reason for reason in PinReason if reason)
# That one passes with the answer to the KILL: as the log leaves it out, so do the pins that are counted.
_COUNTED: Final = tuple(reason for reason in _REASONS if reason is not PinReason.KILL)


def registry_of(door: Door, targets: Group) -> CollectorRegistry:
    """Give a registry with the metrics of one proxy, and those of its process."""
    registry = CollectorRegistry()
    registry.register(ProxyCollector(door, targets))
    # One thread does everything: the process's CPU time tells how near the proxy is to its limit.
    ProcessCollector(registry=registry)
    return registry


class ProxyCollector(Collector):
    """Reads one proxy."""

    def __init__(self, door: Door, targets: Group) -> None:
        self._door = door
        self._targets = targets

    def collect(self) -> Iterator[Metric]:
        """Give all metrics as they are now."""
        now = _Clients.of(self._door.clients)
        yield from self._of_clients(now)
        yield from self._of_the_database(now)
        yield from self._of_borrowing()
        yield from self._of_pins(now)
        yield from self._of_failover()

    def _of_clients(self, now: _Clients) -> Iterator[Metric]:
        door, waiting = self._door, self._targets.waiting
        yield _gauge("client_connections", "Clients that are connected, logged in or not yet.", now.all)
        yield _gauge("client_connections_in_setup", "Clients that are logging in, first or anew.", now.in_setup)
        yield _gauge("client_connections_tls", "Clients with TLS.", now.tls)
        yield _gauge("client_connections_no_tls", "Clients without TLS.", now.all - now.tls)
        yield _gauge("client_connections_waiting", "Clients that wait for a database connection.", waiting)
        yield _counter("client_connections_received", "Clients that have connected.", door.received)
        yield _counter("client_connections_refused", "Clients beyond max_client_connections.", door.refused)
        yield _counter(
            "client_connections_rate_limited", "Clients beyond max_connection_rate.", door.rate_limited
        )
        yield _counter(
            "client_connections_blocked", "Clients from addresses where too many have failed to log in.", door.blocked
        )
        yield _counter("client_connections_outside", "Connections from outside of allow_cidrs.", door.outsiders)
        yield _counter("client_connections_setup_succeeded", "Clients that have logged in.", door.setups_succeeded)
        yield _counter(
            "client_connections_setup_failed_auth",
            "Clients refused for their user or password, or without TLS where it is required.",
            door.setups_failed_auth,
        )
        yield _counter(
            "client_connections_setup_failed_other",
            "Clients refused for anything else while they logged in.",
            door.setups_failed_other,
        )
        yield _counter("client_connections_closed", "Connections of clients that have ended.", door.closed)
        queries = door.queries_of_closed + now.queries
        with_tls = door.tls_queries_of_closed + now.tls_queries
        yield _counter("query_requests", "Queries, and executions of prepared statements.", queries)
        yield _counter("query_requests_tls", "Queries and executions from clients with TLS.", with_tls)
        yield _counter("query_requests_no_tls", "Queries and executions from clients without TLS.", queries - with_tls)

    def _of_the_database(self, now: _Clients) -> Iterator[Metric]:
        pools, counts = self._targets.pools(), self._targets.counts
        connections = [connection for pool in pools for connection in pool.logged_in()]
        secure = sum(connection.secure for connection in connections)
        yield _gauge("database_connections", "Connections that are logged in at the database.", len(connections))
        yield _gauge("database_connections_with_tls", "Database connections with TLS.", secure)
        yield _gauge(
            "database_connections_currently_borrowed",
            "Database connections in use by a session, or being reset after it.",
            self._targets.borrowed,
        )
        yield _gauge(
            "database_connections_currently_in_transaction",
            "Database connections held by an open transaction.",
            now.in_transaction,
        )
        yield _gauge(
            "database_connections_currently_session_pinned",
            "Database connections held by a pinned session.",
            now.pinned,
        )
        limit = GaugeMetricFamily(
            "rdsproxy_max_database_connections_allowed",
            "How many database connections there may be; absent until the database has been reached.",
        )
        limits = [pool.limit for pool in pools if pool.limit is not None]
        if limits:
            limit.add_metric((), sum(limits))
        yield limit
        yield _counter("database_connection_requests", "Attempts to open a database connection.", counts.openings)
        yield _counter("database_connections_setup_succeeded", "Attempts that ended in a connection.", counts.opened)
        yield _counter("database_connections_setup_failed", "Attempts that failed.", counts.not_opened)

    def _of_borrowing(self) -> Iterator[Metric]:
        targets, counts = self._targets, self._targets.counts
        at_once = counts.lent_at_once + sum(pool.lent_at_once for pool in targets.pools())
        waits = counts.waits
        yield _counter(
            "database_connections_borrow_requests",
            "How often a connection was wanted of the pool.",
            at_once + sum(waits.counts) + counts.borrows_aborted + targets.waiting,
        )
        yield _counter(
            "database_connections_borrow_requests_aborted",
            "How often none was lent: too late, refused, or the client had left.",
            counts.borrows_aborted,
        )
        yield _counter(
            "database_connections_borrow_requests_timed_out",
            "How often none was lent within connection_borrow_timeout.",
            counts.borrows_timed_out,
        )
        # Loans made at once belong to the first bucket, at the price of nothing.
        times = accumulate([at_once + waits.counts[0], *waits.counts[1:]])
        buckets = [(str(bound), float(count)) for bound, count in zip((*BOUNDS, "+Inf"), times, strict=True)]
        yield HistogramMetricFamily(
            "rdsproxy_database_connections_borrow_latency_seconds",
            "Time until the pool lent a connection.",
            buckets=buckets,
            sum_value=waits.total,
        )

    def _of_failover(self) -> Iterator[Metric]:
        targets = self._targets
        events, counts = targets.events, targets.counts
        states = GaugeMetricFamily("rdsproxy_targets", "Targets, by state and role.", labels=["state", "role"])
        for (state, role), number in Counter(target.shown for target in targets.targets).items():
            states.add_metric([state, role], number)
        yield states
        yield _gauge(
            "writer_available", "Whether there is a writer, and clients are led to it.", targets.writers.is_open
        )
        yield _counter("failovers", "How often another target became the writer.", events.failovers)
        yield _counter("writer_rivalries", "How often several targets claimed to be the writer.", events.rivalries)
        yield _counter(
            "without_writer_seconds", "Time during which clients of the writer were held.", events.without_writer
        )
        yield _counter(
            "statements_held", "Statements and logins that waited for a target to have the role.", counts.held
        )
        yield _counter(
            "statements_repeated",
            "Commands that were sent again, since they had not run or change nothing.",
            counts.repeated,
        )
        yield _counter(
            "statements_lost", "Commands that ended in an error because their connection was lost.", counts.lost
        )

    def _of_pins(self, now: _Clients) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "rdsproxy_session_pins", "How often a session began to be pinned, by reason.", labels=["reason"]
        )
        for counted in _COUNTED:
            total.add_metric([counted.name], self._targets.counts.pins[counted])
        yield total
        current = GaugeMetricFamily(
            "rdsproxy_sessions_pinned", "Sessions that are pinned, by reason.", labels=["reason"]
        )
        for reason in _REASONS:
            current.add_metric([reason.name], now.pins[reason])
        yield current


@dataclass(slots=True)
class _Clients:
    """The clients of this moment."""

    all: int = 0
    in_setup: int = 0
    tls: int = 0
    queries: int = 0
    tls_queries: int = 0
    in_transaction: int = 0
    pinned: int = 0
    pins: Counter[PinReason] = field(default_factory=Counter)

    @classmethod
    def of(cls, clients: Iterable[ClientConnection]) -> _Clients:
        """Count them."""
        now = cls()
        for client in clients:
            now.all += 1
            now.queries += client.queries
            if client.is_tls:
                now.tls += 1
                now.tls_queries += client.queries
            if not client.is_logged_in:
                now.in_setup += 1
            relay = client.relay
            if relay is None or relay.connection is None:
                continue
            if relay.session.status & IN_TRANSACTION:
                now.in_transaction += 1
            if relay.session.reasons:
                now.pinned += 1
                now.pins.update(reasons_in(relay.session.reasons))
        return now


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"rdsproxy_{name}", meaning, value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    """Make a counter; its name gets the end `_total`."""
    return CounterMetricFamily(f"rdsproxy_{name}", meaning, value)
