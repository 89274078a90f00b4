"""Servers that replicate: ``with ReplicationSet(MariaDB, replicas=1) as servers: ...``, and how a failover is done.

Replication is by GTIDs and rows, and semi-synchronous: a commit is acknowledged when a replica has it. Replicas are
read-only. To make a server fail, use its own methods: ``kill`` (a crash), ``stop`` (in order), ``pause`` and ``resume``
(a frozen host), ``start`` (again, on the same port and data, in the role that it had).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, Self, TypeVar

from rdsproxy.demo.certificates import LOCAL_NAMES
from tests.failover.dialects import DIALECTS, MONITOR, PATIENCE, REPLICATION, change_options, dialect_of
from tests.integration.proxy import ACCOUNTS
from tests.servers import DatabaseServer, ServerError

OTHER_SCHEMA = "app_other"
"""A second schema that the accounts of the tests may use."""

AnyServer = TypeVar("AnyServer", bound=DatabaseServer)


@dataclass(frozen=True)
class Place:
    """Where a server listens; port 0 is a free one. ``inside``: the command that enters its namespace."""

    host: str = "127.0.0.1"
    port: int = 0
    inside: Sequence[str] = ()


def create_accounts(server: DatabaseServer) -> None:
    """Create the tests' accounts and their second schema. They get nothing that gets around read_only."""
    server.execute(f"CREATE DATABASE {OTHER_SCHEMA} CHARACTER SET utf8mb4")
    grants = [f"ALL PRIVILEGES ON {schema}.*" for schema in (server.database, OTHER_SCHEMA)]
    for account in ACCOUNTS:
        server.create_user(account.name, account.password, grants=grants)


def set_read_only(server: DatabaseServer, is_read_only: bool) -> None:
    """Let ``server`` refuse writes, after those under way, or accept them; so it will be after its next start.

    Either way its commits wait for no replica from now on.
    """
    dialect = dialect_of(server)
    dialect.change(server, dialect.replica_settings if is_read_only else dialect.lonely_settings)


def _nothing() -> None:
    pass


def promote(
    candidate: DatabaseServer,
    others: Sequence[DatabaseServer] = (),
    *,
    on_writable: Callable[[], object] = _nothing,
) -> None:
    """Make a replica the primary of ``others``; what was the primary is not asked, nor told.

    The candidate first gets what the others have and it has not, and applies everything. All must be running.
    ``on_writable`` is called as soon as it accepts writes.
    """
    dialect = dialect_of(candidate)
    for server in (candidate, *others):
        dialect.stop_receiving(server)
    for other in others:
        position = dialect.received(other)
        if not dialect.has(candidate, position):
            dialect.wait_for(other, position)
            dialect.wait_for(candidate, dialect.received(candidate))
            dialect.leave(candidate)
            dialect.follow(candidate, other)
            dialect.wait_for(candidate, position)
    dialect.wait_for(candidate, dialect.received(candidate))
    dialect.leave(candidate)
    dialect.change(candidate, dialect.primary_settings if others else dialect.lonely_settings)
    on_writable()
    for other in others:
        dialect.wait_for(other, dialect.received(other))
        dialect.leave(other)
        dialect.follow(other, candidate)


def switch_over(
    primary: DatabaseServer,
    candidate: DatabaseServer,
    others: Sequence[DatabaseServer] = (),
    *,
    on_writable: Callable[[], object] = _nothing,
) -> None:
    """Exchange the roles as planned maintenance does: no acknowledged write is lost, and no connection.

    In between neither accepts writes. ``on_writable`` is called as soon as the candidate does.
    """
    set_read_only(primary, True)
    promote(candidate, [*others, primary], on_writable=on_writable)


class ReplicationSet(Generic[AnyServer]):
    """A primary and its replicas, all private to a test.

    All have the accounts of the tests (``ACCOUNTS``), which may do anything in the schemas ``app`` and
    ``app_other`` and nothing that gets around read_only, and ``MONITOR``.
    """

    def __init__(
        self,
        kind: type[AnyServer],
        replicas: int = 1,
        *,
        places: Sequence[Place] = (),
        ack_timeout: float = 60.0,
        options: Mapping[str, str | None] | None = None,
        **settings: Any,
    ) -> None:
        """Describe the servers; nothing runs before ``start``.

        ``places`` are where they listen, the primary first. A commit that no replica confirms is acknowledged after
        ``ack_timeout`` seconds all the same. ``options`` and ``settings`` are those of each server.
        """
        self._dialect = DIALECTS[kind.kind]
        self._numbers = count(1)
        self.servers = [
            kind(
                host=place.host,
                port=place.port,
                inside=place.inside,
                options={**self._dialect.options(next(self._numbers), ack_timeout), **(options or {})},
                tls_names=[*LOCAL_NAMES, place.host],
                **settings,
            )
            for place in [*places, *[Place()] * (replicas + 1 - len(places))]
        ]
        """All of them, also those that have failed."""
        self.primary, *self.replicas = self.servers

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all and delete their folders."""
        for server in self.servers:
            server.close()

    def start(self) -> None:
        """Start all and return when the replicas have what the primary has. Call this from the main thread."""
        for replica in self.replicas:
            change_options(replica, self._dialect.replica_settings)
        for server in self.servers:
            server.start()
        primary = self.primary
        create_accounts(primary)
        primary.create_user(MONITOR.name, MONITOR.password, grants=[f"{self._dialect.monitoring} ON *.*"])
        primary.create_user(REPLICATION.name, REPLICATION.password, grants=["REPLICATION SLAVE ON *.*"])
        if self.replicas:
            self.accept_writes()
        for replica in self.replicas:
            self._dialect.follow(replica, primary)
        for replica in self.replicas:
            self._dialect.wait_until_connected(replica)
        self.wait_for_replicas()

    def accept_writes(self) -> None:
        """Have the primary accept writes again, which wait for its replicas: without that a failover may lose some."""
        self._dialect.change(self.primary, self._dialect.primary_settings)

    def wait_for_replicas(self) -> None:
        """Return when the replicas have executed what the primary had executed at the call."""
        position = self._dialect.executed(self.primary)
        for replica in self.replicas:
            self._dialect.wait_for(replica, position)

    def promote(self, candidate: AnyServer | None = None, *, on_writable: Callable[[], object] = _nothing) -> AnyServer:
        """Make a replica (the first) the primary, as after a crash, and return it: the old primary is left as it is."""
        candidate = candidate or self.replicas[0]
        self.replicas.remove(candidate)
        promote(candidate, self.replicas, on_writable=on_writable)
        self.primary = candidate
        return candidate

    def switch_over(
        self, candidate: AnyServer | None = None, *, on_writable: Callable[[], object] = _nothing
    ) -> AnyServer:
        """Make a replica (the first) the primary, as planned maintenance does, and the old one a replica."""
        candidate = candidate or self.replicas[0]
        others = [replica for replica in self.replicas if replica is not candidate]
        switch_over(self.primary, candidate, others, on_writable=on_writable)
        self.replicas = [*others, self.primary]
        self.primary = candidate
        return candidate

    def rejoin(self, server: AnyServer, *, as_replica: bool = False) -> None:
        """Bring back a primary that was replaced.

        Either as it comes back by itself, restarted or thawed: with its own data and writable, replicating nothing;
        with it there are two primaries. One that was thawed still waits for its replicas with each commit, up to
        ``ack_timeout``; ``set_read_only(server, False)`` ends that. Or as a replica: with its own data if the primary
        has all of it, or else, since it may have written what nobody else has, made anew from the primary's history.
        """
        if not as_replica:
            change_options(server, self._dialect.lonely_settings)
            if server.running:
                server.resume()
            else:
                server.start()
            return
        server.kill()
        if self._goes_on(server):
            self.accept_writes()
            self.replicas.append(server)
            return
        server.kill()
        shutil.rmtree(server.data)
        # Events with its old id would be taken for its own, and left out.
        change_options(server, {**self._dialect.replica_settings, "server_id": str(next(self._numbers))})
        server.start()
        self._dialect.follow(server, self.primary)
        self._dialect.wait_until_connected(server)
        # All that the primary has ever done: tens of thousands of transactions behind a long test.
        self._dialect.wait_for(server, self._dialect.executed(self.primary), 4 * PATIENCE)
        self.accept_writes()
        self.replicas.append(server)

    def _goes_on(self, server: AnyServer) -> bool:
        """Let a killed server replicate with the data it has, if that can be."""
        dialect, primary = self._dialect, self.primary
        change_options(server, dialect.replica_settings)
        server.start()
        if not dialect.has(primary, dialect.executed(server)):
            return False
        dialect.follow(server, primary)
        try:
            dialect.wait_until_connected(server)
            dialect.wait_for(server, dialect.executed(primary))
        except ServerError:
            return False
        return True
