"""What the collector makes of what it finds. That the numbers are true is seen in tests/integration/test_metrics.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rdsproxy.backend.connector import Connector
from rdsproxy.backend.login import TLSPolicy
from rdsproxy.credentials import StaticCredentials
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.frontend.connection import ClientConnection
from rdsproxy.interfaces import Credential
from rdsproxy.metrics import registry_of
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.pool import Pool
from rdsproxy.pool.route import Route
from rdsproxy.session.pinning import PinReason
from rdsproxy.topology.events import Events
from rdsproxy.topology.health import Health, Role, State
from rdsproxy.topology.target import Place, Target
from rdsproxy.wire import Wires
from tests.doors import door

USERS = StaticCredentials([Credential("app", "app-password")])
IN_TRANSACTION = 1


class Targets:
    """A group with one pool."""

    waiting = borrowed = 0

    def __init__(self, pool: Pool) -> None:
        self.counts = pool.counts
        self.pools = lambda: [pool]
        self.targets: list[Target] = []
        self.events = Events(Clock())
        self.writers = Route(pool.known, pool.counts, 120.0, Clock())


class Proxy:
    """The parts that are looked at, with nothing behind them."""

    def __init__(self, max_connections: int = 10) -> None:
        clock = Clock()
        wires = Wires(None, clock)
        connector = Connector("10.9.8.7", 3306, TLSPolicy(None, required=False), "", USERS, wires, clock)
        self.pool = Pool(Limits(100, 5, 50, 120.0, 100), connector, clock)
        self.connector = connector
        self.targets = Targets(self.pool)
        targets: Any = self.targets
        self.door = door(self.pool.known, Accounts(USERS), wires, max_connections=max_connections)
        self.registry: CollectorRegistry = registry_of(self.door, targets)

    def connect(self, *, tls: bool = False) -> ClientConnection:
        route = Route(self.pool.known, self.pool.counts, 120.0, self.door.reactor)
        client = ClientConnection(self.door, route, behind_balancer=False)
        transport: Any = StringTransport()
        transport.TLS = tls
        client.makeConnection(transport)  # type: ignore[no-untyped-call]
        return client

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"rdsproxy_{name}", labels)


def leave(client: ClientConnection) -> None:
    client.connectionLost(Failure(ConnectionDone()))


def test_before_anything_has_happened() -> None:
    """Everything is there and 0, so that a rate can be told from the first event on; but the limit is not known."""
    proxy = Proxy()
    samples = [
        sample
        for family in text_string_to_metric_families(generate_latest(proxy.registry).decode())
        for sample in family.samples
        if sample.name.startswith("rdsproxy_")
    ]
    assert len(samples) > 50
    assert {sample.value for sample in samples} == {0.0}
    assert proxy.value("max_database_connections_allowed") is None
    assert proxy.value("session_pins_total", reason="CURSOR") == 0
    assert proxy.value("session_pins_total", reason="NONE") is None


def test_as_openmetrics() -> None:
    text = openmetrics.generate_latest(Proxy().registry).decode()
    families = {family.name: family.type for family in openmetrics_parser.text_string_to_metric_families(text)}
    assert families["rdsproxy_query_requests"] == "counter"
    assert families["rdsproxy_database_connections_borrow_latency_seconds"] == "histogram"


def test_two_proxies_share_nothing() -> None:
    one, other = Proxy(), Proxy()
    one.connect()
    one.pool.counts.pins[PinReason.XA] += 1
    assert (one.value("client_connections"), other.value("client_connections")) == (1, 0)
    assert one.value("session_pins_total", reason="XA") == 1
    assert other.value("session_pins_total", reason="XA") == 0


def test_clients_and_their_queries() -> None:
    proxy = Proxy(max_connections=3)
    plain, secure, leaver = proxy.connect(), proxy.connect(tls=True), proxy.connect(tls=True)
    # As after their logins: before, the first of them would give way.
    proxy.door.strangers.clear()
    refused = proxy.connect()
    plain.queries, secure.queries, leaver.queries = 5, 7, 11

    def looks(**expected: float) -> None:
        assert {name: proxy.value(name) for name in expected} == expected

    looks(
        client_connections=3,
        client_connections_in_setup=3,
        client_connections_tls=2,
        client_connections_no_tls=1,
        client_connections_received_total=4,
        client_connections_refused_total=1,
        client_connections_closed_total=0,
        query_requests_total=23,
        query_requests_tls_total=18,
        query_requests_no_tls_total=5,
    )
    leave(refused)
    leave(leaver)
    leave(plain)
    looks(
        client_connections=1,
        client_connections_tls=1,
        client_connections_no_tls=0,
        client_connections_received_total=4,
        client_connections_closed_total=3,
        client_connections_setup_failed_other_total=0,
        query_requests_total=23,
        query_requests_tls_total=18,
        query_requests_no_tls_total=5,
    )


def test_what_sessions_do_with_their_connections() -> None:
    proxy = Proxy()

    def session(status: int, pins: int, *, holds: bool = True) -> None:
        relay: Any = SimpleNamespace(
            connection=object() if holds else None, session=SimpleNamespace(status=status, reasons=pins)
        )
        proxy.connect().relay = relay

    session(IN_TRANSACTION, PinReason.NONE)
    session(IN_TRANSACTION, PinReason.CURSOR)
    session(2, PinReason.CURSOR | PinReason.XA)
    session(2, PinReason.NONE)
    session(IN_TRANSACTION, PinReason.ROLE, holds=False)  # not any more
    assert proxy.value("database_connections_currently_in_transaction") == 2
    assert proxy.value("database_connections_currently_session_pinned") == 2
    assert proxy.value("sessions_pinned", reason="CURSOR") == 2
    assert proxy.value("sessions_pinned", reason="XA") == 1
    assert proxy.value("sessions_pinned", reason="ROLE") == 0


def test_loans_made_at_once_are_the_shortest_waits() -> None:
    proxy = Proxy()
    name = "database_connections_borrow_latency_seconds"
    proxy.pool.counts.waits.note(0.02)
    proxy.pool.counts.waits.note(400.0)
    shelf = proxy.pool._books._shelf(None)  # type: ignore[arg-type]
    shelf.taken = 5
    assert proxy.value(f"{name}_bucket", le="0.001") == 5
    assert proxy.value(f"{name}_bucket", le="0.025") == 6
    assert proxy.value(f"{name}_bucket", le="120.0") == 6
    assert proxy.value(f"{name}_bucket", le="+Inf") == 7
    assert proxy.value(f"{name}_count") == 7
    assert proxy.value(f"{name}_sum") == 400.02
    assert proxy.value("database_connections_borrow_requests_total") == 7


def test_targets_by_state_and_role() -> None:
    proxy = Proxy()
    for port, health in ((1, Health(State.AVAILABLE, Role.READ_WRITE)), (2, Health(State.UNAVAILABLE))):
        target = Target(Place("10.9.8.7", port, "10.9.8.7"), proxy.connector)
        target.told(health)
        proxy.targets.targets.append(target)
    proxy.targets.writers.serve([proxy.pool])
    assert proxy.value("targets", state="AVAILABLE", role="READ_WRITE") == 1
    assert proxy.value("targets", state="UNAVAILABLE", role="UNKNOWN") == 1
    assert proxy.value("writer_available") == 1
