"""Clients of the proxy while their database dies, moves and comes back: what they notice, and that nothing is lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pymysql
import pytest
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor

from tests.failover.bank import Bank, create_bank
from tests.failover.before import Servers, before, follows
from tests.failover.dialects import MONITOR, one
from tests.failover.dns import NameServer
from tests.failover.idle import IdleClients
from tests.failover.namespace import Namespace
from tests.failover.network import TcpRelay
from tests.failover.replication import Place, ReplicationSet, set_read_only
from tests.failover.timeline import Outcome
from tests.integration.network import until
from tests.integration.packets import Packets, error_code
from tests.integration.prepared import Client, PreparedError
from tests.integration.proxy import NATIVE, Account, Proxy, connect, in_transaction, refused, rows, run
from tests.integration.proxy import one as ask
from tests.servers import DatabaseServer, free_port

Kind = type[DatabaseServer]

FAILOVERS = int(os.environ.get("RDSPROXY_FAILOVERS", "5"))
"""How many the bank goes through before each of the two servers. They take two to five seconds each."""

UNKNOWN, ROLLED_BACK, READ_ONLY = (2013, "08S01"), (1213, "40001"), (1290, "HY000")
OF_A_SHUTDOWN = [(1053, "08S01"), (1927, "70100"), (3100, "HY000"), (1105, "HY000")]
"""Killed by it; a commit that MySQL gives up since no replica will confirm it; and the proxy's question behind a
statement that ran, to which a server that shuts down gives no answer."""


@pytest.fixture(scope="module")
def pair(kind: Kind) -> Iterator[Servers]:
    """A primary and a replica on the same port of different addresses."""
    port = free_port()
    with ReplicationSet(kind, places=[Place("127.0.0.2", port), Place("127.0.0.3", port)]) as servers:
        yield servers


@pytest.fixture
def servers(pair: Servers) -> Iterator[Servers]:
    """The pair, with a bank, and whole again afterwards."""
    create_bank(pair.primary)
    pair.wait_for_replicas()
    yield pair
    for server in pair.servers:
        if server is not pair.primary and server not in pair.replicas:
            pair.rejoin(server, as_replica=True)


def check(outcome: Outcome, *errors: tuple[int, str]) -> None:
    """Nobody is dropped, and nobody gets other errors than these."""
    print(outcome)
    assert outcome.clients_dropped == 0
    assert set(outcome.errors) <= set(errors), outcome.errors
    assert not outcome.refused


@pytest.mark.parametrize(
    ("fail", "errors"),
    [
        (DatabaseServer.kill, [UNKNOWN, ROLLED_BACK]),
        # A server that shuts down says so to those whose statements it ends.
        (DatabaseServer.stop, [UNKNOWN, ROLLED_BACK, *OF_A_SHUTDOWN]),
        (DatabaseServer.pause, [UNKNOWN, ROLLED_BACK]),
    ],
    ids=["killed", "stopped", "frozen"],
)
def test_a_forced_failover(
    servers: Servers, tmp_path: Path, fail: Callable[[DatabaseServer], None], errors: list[tuple[int, str]]
) -> None:
    """Idle clients notice nothing; others are told what is known; no acknowledged write is lost, none is doubled."""
    with before(servers, tmp_path) as proxy:
        with IdleClients(proxy.host, proxy.port) as idle, Bank(proxy.host, proxy.port) as bank:
            bank.wait_for_writes()
            old = servers.primary
            fail(old)
            new = servers.promote()
            promoted = time.monotonic()
            bank.wait_for_writes()
            seen = idle.look()
        assert (seen.dropped, seen.changed) == ([], [])
        outcome = bank.outcome(promoted)
        check(outcome, *errors)
        assert outcome.first_success is not None
        bank.check(new)
        servers.rejoin(old, as_replica=True)


def test_a_planned_switchover(servers: Servers, tmp_path: Path) -> None:
    """Clients outside of transactions get no error, those in one at most that it cannot be committed."""
    with before(servers, tmp_path) as proxy:
        with IdleClients(proxy.host, proxy.port) as idle, Bank(proxy.host, proxy.port) as bank:
            for _ in range(2):
                bank.wait_for_writes()
                servers.switch_over()
            bank.wait_for_writes()
            seen = idle.look()
        assert (seen.dropped, seen.changed) == ([], [])
        check(bank.outcome(), READ_ONLY)
        outside = [
            event
            for timeline in bank.timelines
            for event in timeline.events
            if event.kind in ("insert", "count", "begin") and event.code
        ]
        assert outside == []
        bank.check(servers.primary)


def test_pause_and_resume(servers: Servers, tmp_path: Path) -> None:
    """A switchover while the proxy is paused costs no client anything, in a transaction or not."""
    with before(servers, tmp_path, admin={"listen": "tcp:0:interface=127.0.0.1"}) as proxy:
        with Bank(proxy.host, proxy.port) as bank:
            bank.wait_for_writes()
            assert proxy.http("/pause", method="POST").status in (200, 202)
            until(lambda: proxy.http("/pause").text == "paused\n", "nothing is under way")
            written = rows_of(servers.primary)
            servers.switch_over()
            assert rows_of(servers.primary) == written
            assert proxy.http("/health").status == 503
            assert proxy.http("/resume", method="POST").text == "running\n"
            bank.wait_for_writes()
        check(bank.outcome())
        bank.check(servers.primary)


def test_an_old_primary_that_comes_back_gets_nothing(servers: Servers, tmp_path: Path) -> None:
    with before(servers, tmp_path) as proxy, Bank(proxy.host, proxy.port) as bank:
        bank.wait_for_writes()
        old = servers.primary
        old.kill()
        new = servers.promote()
        bank.wait_for_writes()
        servers.rejoin(old)
        # With what was under way when it died, perhaps, and was not acknowledged.
        had = rows_of(old)
        line = proxy.wait_for_log(lambda line: str(line.get("event")).startswith("several targets claim"))
        assert line["level"] == "error"
        assert line["target"] == f"{new.host}:{new.port}"
        bank.wait_for_writes()
        bank.stop()
        bank.check(new)
        assert rows_of(old) == had
        servers.rejoin(old, as_replica=True)


def rows_of(server: DatabaseServer) -> list[tuple[object, ...]]:
    with server.admin("app") as connection:
        return rows(connection, "SELECT id FROM bank_entries ORDER BY id")


@pytest.mark.timeout(60 + 20 * FAILOVERS)
def test_the_bank(servers: Servers, tmp_path: Path) -> None:
    """One failover after the other, of all kinds in turn: the sums hold."""
    kinds = [DatabaseServer.kill, DatabaseServer.pause, DatabaseServer.stop]
    with before(servers, tmp_path) as proxy:
        with (
            IdleClients(proxy.host, proxy.port) as idle,
            Bank(proxy.host, proxy.port, clients=32, pause=0.06) as bank,
        ):
            for number in range(FAILOVERS):
                bank.wait_for_writes(5)
                old = servers.primary
                kinds[number % len(kinds)](old)
                servers.promote()
                bank.wait_for_writes(2)
                servers.rejoin(old, as_replica=True)
            bank.wait_for_writes(5)
            seen = idle.look()
        assert (seen.dropped, seen.changed) == ([], [])
        check(bank.outcome(), UNKNOWN, ROLLED_BACK, *OF_A_SHUTDOWN)
        bank.check(servers.primary)


def test_a_name_that_moves(servers: Servers, tmp_path: Path) -> None:
    """The database is one name; its address changes, whatever the TTL says."""
    old = servers.primary
    with NameServer() as names:
        names.set("db.example", old.host, ttl=3600)
        proxy = before(
            servers,
            tmp_path,
            targets=[{"host": "db.example", "port": old.port}],
            topology={"kind": "dns", "dns_servers": [f"{names.host}:{names.port}"]},
        )
        with proxy:
            with IdleClients(proxy.host, proxy.port) as idle, Bank(proxy.host, proxy.port) as bank:
                bank.wait_for_writes()
                old.kill()
                new = servers.promote()
                names.set("db.example", new.host, ttl=3600)
                bank.wait_for_writes()
                seen = idle.look()
            assert (seen.dropped, seen.changed) == ([], [])
            check(bank.outcome(), UNKNOWN, ROLLED_BACK)
            bank.check(new)
    servers.rejoin(old, as_replica=True)


def test_lost_packets(kind: Kind, namespace: Namespace, tmp_path: Path) -> None:
    """The primary's host is cut off: nothing is refused or reset, there is just no answer."""
    with ReplicationSet(kind, places=[Place(namespace.host, 0, namespace.inside)]) as servers:
        create_bank(servers.primary)
        servers.wait_for_replicas()
        with before(servers, tmp_path) as proxy:
            with IdleClients(proxy.host, proxy.port) as idle, Bank(proxy.host, proxy.port) as bank:
                bank.wait_for_writes()
                namespace.cut()
                servers.promote()
                bank.wait_for_writes()
                seen = idle.look()
            assert (seen.dropped, seen.changed) == ([], [])
            check(bank.outcome(), UNKNOWN, ROLLED_BACK)
            bank.check(servers.primary)


# -- what one client sees ----------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(servers: Servers, tmp_path: Path) -> Iterator[Proxy]:
    with before(servers, tmp_path, readers=True) as proxy:
        yield proxy


def is_run(server: DatabaseServer, word: str) -> bool:
    """Tell whether a statement with this word is under way."""
    return any(word in (process.info or "") for process in server.processlist())


def replace(servers: Servers) -> DatabaseServer:
    """Kill the primary; give the new one."""
    servers.primary.kill()
    return servers.promote()


def test_an_open_transaction_ends_once(servers: Servers, proxy: Proxy) -> None:
    """Whether a statement was under way or not. Who only wants to roll back is not told."""
    with proxy.connect() as session, proxy.connect() as other, proxy.connect() as third:
        for connection in (session, other, third):
            connection.begin()
            run(connection, "INSERT INTO bank_entries (id) VALUES (77)")
        replace(servers)
        with refused(ROLLED_BACK[0], "rolled back"):
            run(session, "INSERT INTO bank_entries (id) VALUES (78)")
        run(session, "INSERT INTO bank_entries (id) VALUES (79)")
        other.rollback()
        with refused(ROLLED_BACK[0], "rolled back"):
            third.commit()
        assert rows(other, "SELECT id FROM bank_entries ORDER BY id") == [(79,)]


def test_an_unused_transaction_moves(servers: Servers, proxy: Proxy) -> None:
    """One in which nothing has been done is begun again on the new writer, with its characteristics."""
    with proxy.connect() as session, proxy.connect() as reading, proxy.connect() as serial:
        session.begin()
        run(reading, "START TRANSACTION READ ONLY")
        run(serial, "SET TRANSACTION READ ONLY")
        replace(servers)
        run(session, "INSERT INTO bank_entries (id) VALUES (81)")
        assert in_transaction(session)
        session.rollback()
        for connection in (reading, serial):
            if connection is serial:
                serial.begin()
            with refused(1792):
                run(connection, "INSERT INTO bank_entries (id) VALUES (82)")
            connection.rollback()
            run(connection, "INSERT INTO bank_entries (id) VALUES (83)")
        assert rows(session, "SELECT id FROM bank_entries") == [(83,), (83,)]


def test_the_first_read_of_a_transaction_is_not_repeated_outside_of_it(servers: Servers, tmp_path: Path) -> None:
    with (
        before(servers, tmp_path, max_connections=1) as proxy,
        proxy.connect() as session,
        proxy.connect() as other,
        servers.primary.admin("app") as blocker,
    ):
        session.begin()
        run(other, "DO 1")  # on the connection that `session` has given up
        run(blocker, "LOCK TABLES bank_accounts WRITE")
        errors: list[object] = []

        def read() -> None:
            try:
                rows(session, "SELECT COUNT(*) FROM bank_accounts")
            except pymysql.MySQLError as error:
                errors.append(error.args[0])

        thread = threading.Thread(target=read)
        thread.start()
        until(partial(is_run, servers.primary, "COUNT"), "it waits for the lock")
        replace(servers)
        thread.join()
        assert errors == [ROLLED_BACK[0]]
        run(session, "DO 1")
        assert not in_transaction(session)


def test_what_cannot_move_ends_with_an_error(servers: Servers, proxy: Proxy) -> None:
    with proxy.connect() as session:
        run(session, "SET @kept = 5")
        run(session, "CREATE TEMPORARY TABLE gone (a INT)")
        replace(servers)
        with refused(UNKNOWN[0], "temporary tables"):
            run(session, "SELECT * FROM gone")
        with refused(1146):
            run(session, "SELECT * FROM gone")
        assert ask(session, "SELECT @kept") == 5


def test_a_read_under_way_is_repeated(servers: Servers, proxy: Proxy) -> None:
    """The database is lost before the reply began: the client gets it from the new writer."""
    with proxy.connect() as session, servers.primary.admin("app") as blocker:
        run(blocker, "LOCK TABLES bank_accounts WRITE")
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.append(rows(session, "SELECT COUNT(*) FROM bank_accounts")))
        thread.start()
        until(partial(is_run, servers.primary, "COUNT"), "it waits for the lock")
        replace(servers)
        thread.join()
    assert results == [[(20,)]]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_write_under_way_is_not_repeated(servers: Servers, proxy: Proxy, in_transaction: bool) -> None:
    with proxy.connect() as session, servers.primary.admin("app") as blocker:
        if in_transaction:
            session.begin()
            run(session, "INSERT INTO bank_entries (id) VALUES (1)")
        run(blocker, "LOCK TABLES bank_counters WRITE")
        errors: list[object] = []

        def write() -> None:
            try:
                run(session, "UPDATE bank_counters SET n = 5")
            except pymysql.MySQLError as error:
                errors.append(error.args[0])

        thread = threading.Thread(target=write)
        thread.start()
        until(partial(is_run, servers.primary, "UPDATE"), "it waits for the lock")
        new = replace(servers)
        thread.join()
        assert errors == [ROLLED_BACK[0] if in_transaction else UNKNOWN[0]]
        assert one(new, "SELECT SUM(n) FROM app.bank_counters") == 0
        run(session, "UPDATE bank_counters SET n = 1 WHERE id = 0")


def test_a_procedure_that_is_refused_half_way_is_not_called_again(servers: Servers, proxy: Proxy) -> None:
    """Its first write is committed when the server becomes read-only: the client is told, nothing is repeated."""
    old = servers.primary
    old.execute(
        "CREATE PROCEDURE app.half_way() SQL SECURITY INVOKER BEGIN INSERT INTO app.bank_entries (id) VALUES (1);"
        " DO GET_LOCK('half_way', 60); INSERT INTO app.bank_entries (id) VALUES (2); END"
    )
    with proxy.connect() as session, old.admin() as holder:
        assert ask(holder, "SELECT GET_LOCK('half_way', 0)") == 1
        errors: list[object] = []

        def call() -> None:
            try:
                run(session, "CALL half_way()")
            except pymysql.MySQLError as error:
                errors.append(error.args[0])

        thread = threading.Thread(target=call)
        thread.start()
        until(partial(is_run, old, "DO GET_LOCK"), "it waits for the lock")
        new = servers.switch_over()
        run(holder, "DO RELEASE_LOCK('half_way')")
        thread.join()
        assert errors == [READ_ONLY[0]]
        assert rows_of(new) == [(1,)]
        new.execute("DROP PROCEDURE app.half_way")


def test_a_failover_is_counted(servers: Servers, tmp_path: Path) -> None:
    with (
        before(servers, tmp_path, admin={"listen": "tcp:0:interface=127.0.0.1"}) as proxy,
        proxy.connect() as reading,
        proxy.connect() as writing,
        servers.primary.admin("app") as blocker,
    ):
        run(blocker, "LOCK TABLES bank_accounts WRITE, bank_counters WRITE")
        results: list[object] = []

        def work(connection: pymysql.Connection[Cursor], sql: str) -> None:
            try:
                results.append(rows(connection, sql))
            except pymysql.MySQLError as error:
                results.append(error.args[0])

        statements = [(reading, "SELECT COUNT(*) FROM bank_accounts"), (writing, "UPDATE bank_counters SET n = 5")]
        threads = [threading.Thread(target=work, args=arguments) for arguments in statements]
        for thread, word in zip(threads, ("COUNT", "UPDATE"), strict=True):
            thread.start()
            until(partial(is_run, servers.primary, word), "it waits for the lock")
        replace(servers)
        for thread in threads:
            thread.join()
        assert sorted(map(str, results)) == ["2013", "[(20,)]"]
        numbers = {name.removeprefix("rdsproxy_"): value for name, value in proxy.metrics().items()}
    assert numbers["failovers_total"] == numbers["writer_available"] == 1
    assert numbers["without_writer_seconds_total"] > 0
    assert (numbers["statements_repeated_total"], numbers["statements_lost_total"]) == (1, 1)
    assert numbers["statements_held_total"] >= 1, "the read, at least"


def test_a_file_under_way_ends_with_an_error(servers: Servers, proxy: Proxy) -> None:
    """The client is told when its file has ended: until then it does not listen."""
    for server in servers.servers:
        server.execute("SET GLOBAL local_infile = 1")
    with Packets(proxy.host, proxy.port, flags=CLIENT.LOCAL_FILES) as client:
        client.send(b"\x03LOAD DATA LOCAL INFILE 'x' INTO TABLE bank_entries (id)")
        sequence, request = client.packet()
        assert request == b"\xfbx"
        client.send(b"1\n2\n", sequence + 1)
        new = replace(servers)
        client.send(b"3\n", sequence + 2)
        client.send(b"", sequence + 3)
        number, answer = client.packet()
        assert (error_code(answer), number) == (UNKNOWN[0], sequence + 4)
        assert rows_of(new) == []
        assert client.query("DO 1")[-1][0] == 0


def test_a_refusal_within_a_transaction_is_looked_into(servers: Servers, tmp_path: Path) -> None:
    """Long before the next look is due."""
    primary = servers.primary
    with before(servers, tmp_path, topology={"check_interval": 60}) as proxy, proxy.connect() as session:
        session.begin()
        run(session, "INSERT INTO bank_entries (id) VALUES (1)")
        until(lambda: all(one.seconds >= 2 for one in primary.processlist(MONITOR.name)), "nobody looks any more")
        set_read_only(primary, True)
        try:
            with refused(READ_ONLY[0]):
                run(session, "INSERT INTO bank_entries (id) VALUES (2)")
            proxy.wait_for_log(
                lambda line: line.get("event") == "target"
                and (line["target"], line["role"]) == (f"{primary.host}:{primary.port}", "READ_ONLY")
            )
        finally:
            servers.accept_writes()
        session.rollback()


def test_a_transaction_that_nobody_began(servers: Servers, proxy: Proxy) -> None:
    """Without autocommit it is rolled back like any other, and the session stays without."""
    with proxy.connect() as session:
        session.autocommit(False)
        run(session, "INSERT INTO bank_entries (id) VALUES (1)")
        new = replace(servers)
        with refused(ROLLED_BACK[0]):
            session.commit()
        run(session, "INSERT INTO bank_entries (id) VALUES (2)")
        assert rows_of(new) == []
        session.commit()
        assert rows_of(new) == [(2,)]


def test_open_cursors_and_parameters_that_were_sent_in_parts(servers: Servers, proxy: Proxy) -> None:
    """They are gone with the connection: the next command says so, and the statements can be used again."""
    with Client(proxy.host, proxy.port) as first, Client(proxy.host, proxy.port) as second:
        accounts = first.prepare("SELECT id FROM bank_accounts ORDER BY id")
        first.execute(accounts, cursor=True)
        assert first.fetch(accounts, 2) == [(0,), (1,)]
        echo = second.prepare("SELECT ?")
        second.send_long(echo, 0, b"half")
        # It has no answer; this one does, on the connection that is kept.
        assert second.one("SELECT 1") == "1"
        replace(servers)
        with pytest.raises(PreparedError) as lost:
            first.fetch(accounts, 2)
        assert lost.value.code == UNKNOWN[0]
        assert len(first.execute(accounts)) == 20
        with pytest.raises(PreparedError) as lost:
            second.execute(echo, ["other"])
        assert lost.value.code == UNKNOWN[0]
        assert second.execute(echo, ["whole"]) == [("whole",)]


def test_statements_in_one_packet_are_not_repeated_once_an_answer_came(servers: Servers, proxy: Proxy) -> None:
    multi_statements = 1 << 16
    with (
        Client(proxy.host, proxy.port, flags=multi_statements) as session,
        servers.primary.admin("app") as blocker,
    ):
        run(blocker, "LOCK TABLES bank_counters WRITE")
        session.send(
            b"\x03" + session.attributes + b"INSERT INTO bank_entries (id) VALUES (1); UPDATE bank_counters SET n = 5"
        )
        until(partial(is_run, servers.primary, "UPDATE"), "it waits for the lock")
        new = replace(servers)
        first, second = session.reply()
        assert (first[0], error_code(second)) == (0, UNKNOWN[0])
        assert rows_of(new) == [(1,)]
        assert session.one("SELECT SUM(n) FROM bank_counters") == "0"


def test_a_commit_under_way_is_neither_acknowledged_nor_repeated(servers: Servers, proxy: Proxy) -> None:
    """The replica does not confirm it, then the primary dies: what is told is that nobody knows."""
    old, (replica,) = servers.primary, servers.replicas
    with proxy.connect() as session:
        session.begin()
        run(session, "INSERT INTO bank_entries (id) VALUES (1)")
        replica.pause()
        errors: list[object] = []

        def commit() -> None:
            try:
                session.commit()
            except pymysql.MySQLError as error:
                errors.append(error.args)

        thread = threading.Thread(target=commit)
        thread.start()
        until(lambda: any(p.info == "COMMIT" for p in old.processlist(NATIVE.name)), "it waits for the replica")
        old.kill()
        replica.resume()
        new = servers.promote()
        thread.join()
        (error,) = errors
        assert isinstance(error, tuple)
        assert error[0] == UNKNOWN[0]
        assert "not known" in error[1]
        run(session, "INSERT INTO bank_entries (id) VALUES (2)")
        assert rows_of(new) in ([(2,)], [(1,), (2,)])


def test_clients_that_come_while_there_is_no_database(servers: Servers, proxy: Proxy) -> None:
    """They are let in, or not, and wait for their first statement only."""
    proxy.connect().close()
    servers.primary.kill()
    proxy.wait_for_log(lambda line: line.get("event") == "the writer is lost")
    with Packets(proxy.host, proxy.port, NATIVE) as session, pytest.raises(pymysql.MySQLError) as denied:
        connect(proxy.host, proxy.port, Account(NATIVE.name, "wrong", NATIVE.plugin))
    assert denied.value.args[0] == 1045
    with Packets(proxy.host, proxy.port, NATIVE) as session:
        session.send(b"\x0e")  # COM_PING
        assert session.packet()[1][0] == 0
        session.send(b"\x03SELECT COUNT(*) FROM bank_accounts")
        servers.promote()
        assert session.reply()[-2] == b"\x0220"


def test_nothing_is_waited_for_longer_than_asked(servers: Servers, tmp_path: Path) -> None:
    with before(servers, tmp_path, target_group={"connection_borrow_timeout": 1}) as proxy, proxy.connect() as session:
        run(session, "DO 1")
        servers.primary.kill()
        proxy.wait_for_log(lambda line: line.get("event") == "the writer is lost")
        with refused(9501):
            run(session, "DO 1")
        servers.promote()
        run(session, "DO 1")


# -- readers -----------------------------------------------------------------------------------------------------------


def test_readers(servers: Servers, proxy: Proxy) -> None:
    """They read from the replica, whichever it is, and write nowhere."""
    follows(proxy, servers.primary)

    with connect(proxy.host, proxy.reader_port, NATIVE) as session:

        def reads_from_the_replica() -> bool:
            return bool(ask(session, "SELECT @@server_id") == one(servers.replicas[0], "SELECT @@server_id"))

        assert reads_from_the_replica()
        with refused(READ_ONLY[0]):
            run(session, "INSERT INTO bank_entries (id) VALUES (1)")
        run(session, "SET @x = 3")
        servers.switch_over()
        until(reads_from_the_replica, "the other one is the reader")
        assert ask(session, "SELECT @x") == 3


def test_a_reader_that_does_not_replicate_is_left(servers: Servers, tmp_path: Path) -> None:
    topology = {"writer_serves_readers": True, "max_replica_lag": 30}
    with before(servers, tmp_path, readers=True, topology=topology) as proxy:
        (replica,) = servers.replicas
        with connect(proxy.host, proxy.reader_port, NATIVE) as session:
            until(lambda: ask(session, "SELECT @@read_only") == 1, "the replica answers")
            replica.execute("STOP REPLICA SQL_THREAD")
            until(lambda: ask(session, "SELECT @@read_only") == 0, "the writer answers")
            replica.execute("START REPLICA SQL_THREAD")
            until(lambda: ask(session, "SELECT @@read_only") == 1, "the replica answers again")


def test_a_cut_network_to_the_reader(servers: Servers, tmp_path: Path) -> None:
    """A read that hangs is sent to the other reader as soon as its own counts as lost."""
    (replica,) = servers.replicas
    primary = servers.primary
    with TcpRelay(replica.host, replica.port) as relay:
        targets = [
            {"host": primary.host, "port": primary.port},
            {"host": relay.host, "port": relay.port},
        ]
        topology = {"writer_serves_readers": True}
        with (
            before(servers, tmp_path, targets=targets, readers=True, topology=topology) as proxy,
            connect(proxy.host, proxy.reader_port, NATIVE) as session,
        ):
            until(lambda: ask(session, "SELECT @@read_only") == 1, "the replica answers")
            relay.freeze()
            assert ask(session, "SELECT @@read_only") == 0
            relay.thaw()
            until(lambda: ask(session, "SELECT @@read_only") == 1, "the replica answers again")


def test_two_writers_at_the_start(servers: Servers, tmp_path: Path) -> None:
    """Clients stay with one of them, whatever comes."""
    (replica,) = servers.replicas
    set_read_only(replica, False)
    try:
        with before(servers, tmp_path) as proxy, proxy.connect() as session:
            proxy.wait_for_log(lambda line: str(line.get("event")).startswith("several targets claim"))
            assert len({ask(session, "SELECT @@server_id") for _ in range(50)}) == 1
    finally:
        set_read_only(replica, True)
