"""Clients that write, and know what must be there afterwards: what was acknowledged, once, and nothing half done.

``create_bank(primary)``, then ``with Bank(host, port) as bank: ...`` and ``bank.check(server)``. They connect to
a server, to any proxy before it, or to a relay.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pymysql
from pymysql.constants import CR, ER

from tests.failover.timeline import WRITES, Outcome, Timeline, error_of, outcome
from tests.integration.network import until
from tests.integration.proxy import NATIVE, Account, connect, rows, run
from tests.servers import Certificates, DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

ACCOUNTS = 20
COUNTERS = 4
BALANCE = 1000
"""Of each account in the beginning."""

TABLES = {
    "bank_accounts": "id INT PRIMARY KEY, balance INT NOT NULL",
    # No unique key on what the clients number: what is written twice shall be seen twice.
    "bank_transfers": "n INT AUTO_INCREMENT PRIMARY KEY, id BIGINT, KEY (id), source INT, target INT, amount INT",
    "bank_entries": "n INT AUTO_INCREMENT PRIMARY KEY, id BIGINT, KEY (id)",
    "bank_counters": "id INT PRIMARY KEY, n INT NOT NULL",
}

# A statement with such an answer may have been carried out: the answer was lost, or the server was in the middle of it.
# With every other error it was not.
UNCLEAR = frozenset(
    {
        CR.CR_SERVER_GONE_ERROR,
        CR.CR_SERVER_LOST,
        CR.CR_SERVER_LOST_EXTENDED,
        ER.SERVER_SHUTDOWN,
        ER.QUERY_INTERRUPTED,
        ER.ERROR_DURING_COMMIT,
        1927,  # MariaDB's ER_CONNECTION_KILLED
    }
)

_RECONNECT = 0.02  # seconds between two attempts


def create_bank(primary: DatabaseServer) -> None:
    """Make the tables in the schema ``app``, or make them anew."""
    for name, columns in TABLES.items():
        primary.execute(f"DROP TABLE IF EXISTS app.{name}", f"CREATE TABLE app.{name} ({columns}) ENGINE = InnoDB")
    accounts = ", ".join(f"({number}, {BALANCE})" for number in range(ACCOUNTS))
    counters = ", ".join(f"({number}, 0)" for number in range(COUNTERS))
    primary.execute(
        f"INSERT INTO app.bank_accounts VALUES {accounts}", f"INSERT INTO app.bank_counters VALUES {counters}"
    )


class Tally(NamedTuple):
    """Writes that are not as they were acknowledged."""

    lost: int
    """Acknowledged, and not there."""
    doubled: int
    """There, and neither acknowledged nor possibly carried out: done twice, or after an error that denied it."""


@dataclass
class Book:
    """What became of the writes of one kind, by id; the same id may be there more often."""

    acknowledged: Counter[int] = field(default_factory=Counter)
    unknown: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    """Of these nothing may be there."""

    def add(self, other: Book) -> None:
        """Take in what another client has written down."""
        self.acknowledged += other.acknowledged
        self.unknown += other.unknown
        self.failed += other.failed

    def problems(self, what: str, found: Counter[int]) -> Iterable[str]:
        """Compare with what is there: how often each id was found."""
        for number, least, most in self._wrong(found):
            yield f"{what} {number} is there {found[number]} times, not {least} to {most} times"

    def tally(self, found: Counter[int]) -> Tally:
        """Count what is missing and what is too much."""
        wrong = list(self._wrong(found))
        return Tally(
            sum(max(0, least - found[number]) for number, least, _ in wrong),
            sum(max(0, found[number] - most) for number, _, most in wrong),
        )

    def _wrong(self, found: Counter[int]) -> Iterator[tuple[int, int, int]]:
        """Give ids that are there too seldom or too often, and how often they may be there."""
        for number in sorted({*self.acknowledged, *self.unknown, *self.failed, *found}):
            least = self.acknowledged[number]
            most = least + self.unknown[number]
            if not least <= found[number] <= most:
                yield number, least, most


class Bank:
    """Clients that move money in transactions, insert rows and count in single statements, until the block ends.

    Each has a connection of its own, and makes a new one when that is lost. ``pause`` are the seconds between two
    writes of a client, ``timeout`` those that it waits for an answer. ``reach`` connects in another way, and a client
    leaves a connection that gives one of the errors ``leave_on``, to make a new one.
    """

    def __init__(
        self,
        host: str,
        port: int,
        account: Account = NATIVE,
        *,
        clients: int = 8,
        tls: Certificates | None = None,
        pause: float = 0.005,
        timeout: float = 30.0,
        reach: Callable[[], Connection] | None = None,
        leave_on: Collection[int] = (),
    ) -> None:
        self._stopping = threading.Event()

        def connect_() -> Connection:
            return connect(host, port, account, tls, connect_timeout=timeout, read_timeout=timeout)

        self._clients = [
            _Client(number, reach or connect_, self._stopping, pause, leave_on) for number in range(clients)
        ]
        self._threads = [threading.Thread(target=client.work, name=f"bank {client.number}") for client in self._clients]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let each client finish what it does, and leave."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def timelines(self) -> list[Timeline]:
        """What each client has lived through."""
        return [client.timeline for client in self._clients]

    @property
    def writes(self) -> int:
        """How many writes have been acknowledged so far."""
        return sum(client.writes for client in self._clients)

    def wait_for_writes(self, each: int = 10) -> None:
        """Return when each client has had ``each`` more writes acknowledged."""
        wanted = [client.writes + each for client in self._clients]
        until(
            lambda: all(client.writes >= number for client, number in zip(self._clients, wanted, strict=True)),
            f"{each} more writes by each client",
        )

    def renew(self) -> None:
        """Let each client make a new connection after the write that it is at, as pools do by age."""
        for client in self._clients:
            client.renews = True

    def outcome(self, since: float = 0.0) -> Outcome:
        """Give all in numbers; call this after ``stop``."""
        return outcome(self.timelines, since)

    def book(self, kind: str) -> Book:
        """Give what became of the writes of one kind, one of ``WRITES``; call this after ``stop``."""
        together = Book()
        for client in self._clients:
            together.add(client.books[kind])
        return together

    def check(self, server: DatabaseServer) -> None:
        """Fail unless ``server`` has what it must have, and nothing else; call this after ``stop``."""
        problems = self.problems(server)
        assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems[:20])

    def problems(self, server: DatabaseServer) -> list[str]:
        """Say what is on ``server`` that should not be, or is not and should be."""
        balances, transfers, found = _contents(server)
        problems = []
        if sum(balances.values()) != ACCOUNTS * BALANCE:
            problems.append(f"the balances sum up to {sum(balances.values())}, not {ACCOUNTS * BALANCE}")
        expected = dict.fromkeys(range(ACCOUNTS), BALANCE)
        for _, source, target, amount in transfers:
            expected[source] -= amount
            expected[target] += amount
        if balances != expected:
            problems.append(f"the balances are {balances}, the transfers make {expected}")
        for kind, what in (("commit", "transfer"), ("insert", "entry"), ("count", "count")):
            problems += self.book(kind).problems(what, found[kind])
        return problems

    def tally(self, server: DatabaseServer) -> Tally:
        """Count what ``problems`` says; call this after ``stop``."""
        _, _, found = _contents(server)
        tallies = [self.book(kind).tally(found[kind]) for kind in WRITES]
        return Tally(sum(tally.lost for tally in tallies), sum(tally.doubled for tally in tallies))


def _contents(server: DatabaseServer) -> tuple[dict[int, int], list[tuple[Any, ...]], dict[str, Counter[int]]]:
    """Give the balances, the transfers, and how often each write is there, by its kind and id."""
    with server.admin("app") as connection:
        run(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        balances = dict(rows(connection, "SELECT id, balance FROM bank_accounts"))
        transfers = rows(connection, "SELECT id, source, target, amount FROM bank_transfers")
        entries = rows(connection, "SELECT id FROM bank_entries")
        counters = dict(rows(connection, "SELECT id, n FROM bank_counters"))
    found = {
        "commit": Counter(row[0] for row in transfers),
        "insert": Counter(row[0] for row in entries),
        "count": Counter(counters),
    }
    return balances, transfers, found


class _Client:
    """One thread's."""

    def __init__(
        self,
        number: int,
        connect: Callable[[], Connection],
        stopping: threading.Event,
        pause: float,
        leave_on: Collection[int],
    ) -> None:
        self.number = number
        self.timeline = Timeline()
        self.books = {kind: Book() for kind in WRITES}
        self.writes = 0
        self.renews = False
        self._leave_on = leave_on
        self._connect = connect
        self._stopping = stopping
        self._pause = pause
        self._chance = random.Random(number)
        self._ids = number * 1_000_000_000
        self._connection: Connection | None = None

    def work(self) -> None:
        """Write until it is time to stop."""
        for write in cycle((self._transfer, self._insert, self._count)):
            if self._stopping.is_set():
                break
            if self._has_connection():
                write()
                self._stopping.wait(self._pause)
        self._leave()

    def _has_connection(self) -> bool:
        if self.renews:
            self.renews = False
            self._leave()
        if self._connection is None or not self._connection.open:
            self._connection = None
            try:
                self._connection = self.timeline.record("connect", self._connect)
            except pymysql.MySQLError:
                self._stopping.wait(_RECONNECT)
        return self._connection is not None

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.open:
            connection.close()

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    def _run(self, kind: str, sql: str) -> None:
        connection = self._connection
        assert connection is not None

        def do() -> None:
            try:
                run(connection, sql)
            except pymysql.MySQLError as error:
                if connection.open and error_of(error)[0] in self._leave_on:
                    connection.close()
                raise

        self.timeline.record(kind, do, connection)

    def _insert(self) -> None:
        number = self._new_id()
        self._write("insert", number, f"INSERT INTO bank_entries (id) VALUES ({number})")

    def _count(self) -> None:
        number = self._chance.randrange(COUNTERS)
        self._write("count", number, f"UPDATE bank_counters SET n = n + 1 WHERE id = {number}")

    def _transfer(self) -> None:
        number = self._new_id()
        source, target = self._chance.sample(range(ACCOUNTS), 2)
        amount = self._chance.randrange(1, 10)
        # In this order always: no deadlocks.
        changes = sorted([(source, -amount), (target, amount)])
        try:
            self._run("begin", "BEGIN")
            for account, change in changes:
                self._run("update", f"UPDATE bank_accounts SET balance = balance + {change} WHERE id = {account}")
            self._run(
                "transfer",
                "INSERT INTO bank_transfers (id, source, target, amount)"
                f" VALUES ({number}, {source}, {target}, {amount})",
            )
        except pymysql.MySQLError:
            # It never asked to commit.
            self.books["commit"].failed[number] += 1
            self._roll_back()
            return
        if not self._write("commit", number, "COMMIT"):
            self._roll_back()

    def _write(self, kind: str, number: int, sql: str) -> bool:
        """Run what makes a write last, and write down how it ended; tell whether it was acknowledged."""
        book = self.books[kind]
        try:
            self._run(kind, sql)
        except pymysql.MySQLError as error:
            (book.unknown if error_of(error)[0] in UNCLEAR else book.failed)[number] += 1
            return False
        book.acknowledged[number] += 1
        self.writes += 1
        return True

    def _roll_back(self) -> None:
        assert self._connection is not None
        if self._connection.open:
            try:
                self._run("rollback", "ROLLBACK")
            except pymysql.MySQLError:
                # The next BEGIN must not commit what may still be open.
                self._leave()
