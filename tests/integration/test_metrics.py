"""The numbers of the admin endpoint while real clients run on real servers: each one is held against what happened."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.logins import Login
from tests.integration.network import until
from tests.integration.packets import error_code
from tests.integration.prepared import Client
from tests.integration.proxy import Account, Proxy, hold, one, refused, rows, run, vanish
from tests.integration.test_logins import change_user
from tests.servers import Certificates, DatabaseServer

ADMIN = {"listen": "tcp:0:interface=127.0.0.1"}
ALONE = Account("metrics_alone", "Metrics-1", "MYSQL_NATIVE_PASSWORD")
"""Nobody else's connections are counted with this one's."""
STRANGER = Account("metrics_stranger", "Metrics-2", "MYSQL_NATIVE_PASSWORD")
"""Whom the proxy knows and the database does not."""

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""


class Gauge:
    """Looks at a proxy's numbers, the counters since it was made."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._before = proxy.metrics()

    def __getitem__(self, name: str) -> float:
        """Give a number now; a counter without what it was before."""
        name = f"rdsproxy_{name}"
        value = self._proxy.metrics()[name]
        counts = name.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))
        return value - self._before[name] if counts else value

    def until(self, name: str, value: float) -> None:
        """Return when a number is what it has to be."""
        until(lambda: self[name] == value, f"{name} {value}")


@pytest.fixture(scope="module", autouse=True)
def accounts(server: DatabaseServer) -> None:
    server.create_user(ALONE.name, ALONE.password, grants=["ALL PRIVILEGES ON *.*"])


@pytest.fixture(scope="module")
def shared(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    with Proxy(
        server,
        tmp_path_factory.mktemp("metrics"),
        max_connections=2,
        tls=certificates,
        accounts=[ALONE],
        admin=ADMIN,
    ) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared: Proxy) -> Proxy:
    """A proxy with two connections at most, that nobody uses."""
    empty = Gauge(shared)
    empty.until("client_connections", 0)
    empty.until("database_connections_currently_borrowed", 0)
    return shared


def test_clients(proxy: Proxy) -> None:
    numbers = Gauge(proxy)
    with proxy.connect(ALONE), proxy.connect(ALONE, tls=True), proxy.connect(ALONE, tls=True):
        assert numbers["client_connections"] == 3
        assert numbers["client_connections_tls"] == 2
        assert numbers["client_connections_no_tls"] == 1
        assert numbers["client_connections_in_setup"] == 0
        assert numbers["client_connections_closed_total"] == 0
        with Login(proxy.host, proxy.port):
            assert numbers["client_connections_in_setup"] == 1
            assert numbers["client_connections"] == 4
    numbers.until("client_connections", 0)
    assert numbers["client_connections_received_total"] == 4
    assert numbers["client_connections_setup_succeeded_total"] == 3
    assert numbers["client_connections_closed_total"] == 4
    assert numbers["client_connections_setup_failed_auth_total"] == 0
    assert numbers["client_connections_setup_failed_other_total"] == 0


def test_clients_that_are_refused(proxy: Proxy) -> None:
    numbers = Gauge(proxy)
    with refused(1045):
        proxy.connect(ALONE, password=b"wrong")
    with refused(1045):
        proxy.connect(STRANGER)
    with refused(1049):
        proxy.connect(ALONE, database="not_there")
    numbers.until("client_connections_closed_total", 3)
    assert numbers["client_connections_setup_failed_auth_total"] == 2
    assert numbers["client_connections_setup_failed_other_total"] == 1
    assert numbers["client_connections_setup_succeeded_total"] == 0


def test_a_change_of_user_is_no_setup(proxy: Proxy) -> None:
    with Client(proxy.host, proxy.port, ALONE) as client:
        numbers = Gauge(proxy)
        assert change_user(client, ALONE, ALONE.password)[-1][0] == 0x00
        assert numbers["client_connections_in_setup"] == 0
        assert error_code(change_user(client, ALONE, "wrong")[-1]) == 1873
    numbers.until("client_connections_closed_total", 1)
    for name in ("received", "setup_succeeded", "setup_failed_auth", "setup_failed_other"):
        assert numbers[f"client_connections_{name}_total"] == 0


def test_queries(proxy: Proxy, server: DatabaseServer) -> None:
    """As many as the server has seen; what is no query is not counted as one."""

    def seen() -> int:
        with server.admin() as admin:
            return int(rows(admin, "SHOW GLOBAL STATUS LIKE 'Com_do'")[0][1])

    with proxy.connect(ALONE) as plain, proxy.connect(ALONE, tls=True) as secure:
        numbers, before = Gauge(proxy), seen()
        for _ in range(7):
            run(plain, "DO 1")
        for _ in range(5):
            run(secure, "DO 2")
        plain.ping()
        secure.select_db("app")
        assert numbers["query_requests_total"] == 12 == seen() - before
        assert numbers["query_requests_tls_total"] == 5
        assert numbers["query_requests_no_tls_total"] == 7
    numbers.until("client_connections", 0)
    assert numbers["query_requests_tls_total"] == 5
    assert numbers["query_requests_no_tls_total"] == 7


def test_prepared_statements(proxy: Proxy) -> None:
    with Client(proxy.host, proxy.port, ALONE) as client:
        numbers = Gauge(proxy)
        number = client.prepare("SELECT ?")
        for value in range(3):
            assert client.execute(number, [value]) == [(value,)]
        assert numbers["query_requests_total"] == 3


def test_transactions(proxy: Proxy, table: str) -> None:
    with proxy.connect(ALONE) as holder, proxy.connect(ALONE) as other:
        numbers = Gauge(proxy)
        run(other, "DO 1")
        assert numbers["database_connections_currently_borrowed"] == 0
        assert numbers["database_connections_currently_in_transaction"] == 0
        holder.begin()
        run(holder, f"INSERT INTO {table} (value) VALUES (1)")
        assert numbers["database_connections_currently_borrowed"] == 1
        assert numbers["database_connections_currently_in_transaction"] == 1
        assert numbers["database_connections_currently_session_pinned"] == 0
        run(other, "DO 1")
        assert numbers["database_connections"] == len(proxy.backends()) == 2
        holder.commit()
        assert numbers["database_connections_currently_borrowed"] == 0
        assert numbers["database_connections_currently_in_transaction"] == 0
        # One for each statement outside of the transaction, one for that.
        assert numbers["database_connections_borrow_requests_total"] == 3
        holder.begin()
        assert numbers["database_connections_currently_in_transaction"] == 1
        vanish(holder)
        numbers.until("database_connections_currently_borrowed", 0)
        assert numbers["database_connections_currently_in_transaction"] == 0


def test_who_waits(proxy: Proxy) -> None:
    with proxy.connect(ALONE) as first, proxy.connect(ALONE) as second, proxy.connect(ALONE) as third:
        hold(first)
        hold(second)
        numbers = Gauge(proxy)
        answers: list[object] = []
        waits = threading.Thread(target=lambda: answers.append(one(third, "SELECT 5")))
        waits.start()
        numbers.until("client_connections_waiting", 1)
        assert numbers["database_connections_currently_borrowed"] == 2
        assert numbers["database_connections_borrow_latency_seconds_count"] == 0
        assert numbers["database_connections_borrow_requests_total"] == 1
        first.rollback()
        waits.join()
        assert answers == [5]
        assert numbers["client_connections_waiting"] == 0
        assert numbers["database_connections_borrow_latency_seconds_count"] == 1
        assert numbers["database_connections_borrow_latency_seconds_sum"] > 0
        # Who leaves while it waits gets none.
        hold(first)
        with Client(proxy.host, proxy.port, ALONE) as leaver:
            leaver.send(b"\x03DO 1")
            numbers.until("client_connections_waiting", 1)
        numbers.until("database_connections_borrow_requests_aborted_total", 1)
        assert numbers["client_connections_waiting"] == 0
        assert numbers["database_connections_borrow_requests_timed_out_total"] == 0
        assert numbers["database_connections_borrow_latency_seconds_count"] == 2  # with that of `first`


@on_mariadb
def test_who_waits_in_vain(server: DatabaseServer, folder: Path) -> None:
    settings = {"connection_borrow_timeout": 0.1}
    with (
        Proxy(server, folder, max_connections=1, target_group=settings, admin=ADMIN) as proxy,
        proxy.connect() as holder,
        proxy.connect() as other,
    ):
        hold(holder)
        numbers = Gauge(proxy)
        with refused(9501):
            run(other, "DO 1")
        assert numbers["database_connections_borrow_requests_aborted_total"] == 1
        assert numbers["database_connections_borrow_requests_timed_out_total"] == 1


PINS = [
    ("TEMPORARY_TABLE", "CREATE TEMPORARY TABLE pinning (a INT)", "DROP TEMPORARY TABLE pinning"),
    ("USER_LOCK", "SELECT GET_LOCK('metrics', 0)", "SELECT RELEASE_LOCK('metrics')"),
    ("LOCKED_TABLES", "LOCK TABLES {t} WRITE", "UNLOCK TABLES"),
    ("PREPARED_TEXT", "PREPARE s FROM 'SELECT 1'", "DEALLOCATE PREPARE s"),
]


@pytest.mark.parametrize(("reason", "begin", "end"), PINS, ids=[pin[0] for pin in PINS])
def test_pins_by_reason(proxy: Proxy, table: str, reason: str, begin: str, end: str) -> None:
    numbers = Gauge(proxy)
    total, current = f'session_pins_total{{reason="{reason}"}}', f'sessions_pinned{{reason="{reason}"}}'
    with proxy.connect(ALONE) as session:
        for turn in range(2):
            run(session, begin.format(t=table))
            run(session, "DO 1")
            assert numbers[total] == turn + 1
            assert numbers[current] == 1
            assert numbers["database_connections_currently_session_pinned"] == 1
            run(session, end)
            # The client has its answer before the server has been asked whether the lock is gone.
            numbers.until(current, 0)
            assert numbers[total] == turn + 1
            assert numbers["database_connections_currently_session_pinned"] == 0
            numbers.until("database_connections_currently_borrowed", 0)
        run(session, begin.format(t=table))
        run(session, "DO 1")
        vanish(session)
    numbers.until("database_connections_currently_borrowed", 0)
    assert numbers[current] == 0
    everything = [name for name in proxy.metrics() if name.startswith("rdsproxy_session_pins_total")]
    counted = {name: numbers[name.removeprefix("rdsproxy_")] for name in everything}
    assert {name: count for name, count in counted.items() if count} == {f"rdsproxy_{total}": 3}


def test_two_reasons_at_once(proxy: Proxy) -> None:
    numbers = Gauge(proxy)
    with proxy.connect(ALONE) as session:
        run(session, "SELECT GET_LOCK('metrics', 0)")
        run(session, "CREATE TEMPORARY TABLE pinning (a INT)")
        assert numbers['sessions_pinned{reason="USER_LOCK"}'] == 1
        assert numbers['sessions_pinned{reason="TEMPORARY_TABLE"}'] == 1
        assert numbers["database_connections_currently_session_pinned"] == 1


def test_the_database_side(proxy: Proxy) -> None:
    numbers = Gauge(proxy)
    with proxy.connect(ALONE) as session, proxy.connect(ALONE) as other:
        session.begin()
        other.begin()
        assert numbers["database_connections"] == len(proxy.backends()) == 2
        assert numbers["database_connections_with_tls"] == 2
        assert numbers["max_database_connections_allowed"] == 2
    total = proxy.metrics()
    asked = total["rdsproxy_database_connection_requests_total"]
    assert asked == total["rdsproxy_database_connections_setup_succeeded_total"] >= 2
    assert total["rdsproxy_database_connections_setup_failed_total"] == 0
    numbers.until("database_connections_currently_borrowed", 0)
    (process, *_) = proxy.server.processlist(ALONE.name)
    proxy.server.execute(f"KILL {process.id}")
    numbers.until("database_connections", 1)
    with proxy.connect(ALONE) as session, proxy.connect(ALONE) as other:
        session.begin()
        other.begin()
        assert numbers["database_connections"] == 2
        assert proxy.metrics()["rdsproxy_database_connection_requests_total"] == asked + 1


@on_mariadb
def test_a_database_that_refuses(server: DatabaseServer, folder: Path) -> None:
    with Proxy(server, folder, accounts=[ALONE, STRANGER], admin=ADMIN) as proxy:
        proxy.connect(ALONE).close()
        numbers = Gauge(proxy)
        with refused(1045, "at the database"):
            proxy.connect(STRANGER)
        assert numbers["database_connections_setup_failed_total"] == 1
        assert numbers["database_connections_setup_succeeded_total"] == 0
        assert numbers["client_connections_setup_failed_auth_total"] == 1
        assert numbers["database_connections_borrow_requests_aborted_total"] == 1
        assert numbers["database_connections_borrow_requests_timed_out_total"] == 0


def own_queries(proxy: Proxy) -> int:
    """Give how many queries PyMySQL sends by itself when it connects as above."""
    numbers = Gauge(proxy)
    with proxy.connect(ALONE, init_command="DO 1"):
        return int(numbers["query_requests_total"])


def test_under_load(proxy: Proxy, table: str) -> None:
    """Scraped all the time, nothing is lost and nothing goes back."""
    clients, turns = 6, 40
    numbers = Gauge(proxy)
    done = threading.Event()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with proxy.connect(ALONE, tls=number % 2 == 0, init_command="DO 1") as session:
                session.autocommit(False)
                for turn in range(turns):
                    run(session, f"INSERT INTO {table} (value) VALUES ({turn})")
                    if turn % 2:
                        session.commit()
                session.commit()
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    scrapes: list[dict[str, float]] = []

    def scrape() -> None:
        while not done.is_set():
            scrapes.append(proxy.metrics())

    scraper = threading.Thread(target=scrape)
    for thread in (*workers, scraper):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    scraper.join()
    assert failures == []
    # PyMySQL's own while it connects, autocommit off, then the rest.
    numbers.until("client_connections", 0)
    queries, with_tls = numbers["query_requests_total"], numbers["query_requests_tls_total"]
    each = own_queries(proxy) + 1 + turns + turns // 2 + 1
    assert queries == clients * each
    assert with_tls == clients // 2 * each
    count = "database_connections_borrow_latency_seconds_count"
    assert numbers[count] == numbers["database_connections_borrow_requests_total"] > clients * turns // 2
    assert len(scrapes) > 1
    for before, after in pairwise(scrapes):
        for name, value in before.items():
            if name.startswith("rdsproxy_") and name.partition("{")[0].endswith(("_total", "_count", "_bucket")):
                assert after[name] >= value, name
        assert after["rdsproxy_database_connections"] <= 2
        assert after["rdsproxy_database_connections_currently_borrowed"] <= 2


def test_no_secret_and_no_host(proxy: Proxy) -> None:
    with proxy.connect(ALONE) as session:
        run(session, "CREATE TEMPORARY TABLE pinning (a INT)")
        text = proxy.http("/metrics").text + proxy.http("/health").text + proxy.http("/other").text
    for word in (ALONE.password, ALONE.name, proxy.server.host, "pinning"):
        assert word not in text
    # As a number of its own: within a count of bytes its digits may stand by chance.
    assert not re.search(rf"(?<![\d.]){proxy.server.port}\b", text)
