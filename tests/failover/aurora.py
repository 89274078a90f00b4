"""What looks like an Aurora cluster: real servers, whose roles are read_only, and a table of theirs that lists them.

The servers 2, 3 and 4 are at 127.0.0.2 and so on, all on one port, each behind a relay that puts a table of this test
into the place of `information_schema.replica_host_status`, and what a server was given as `report_host` into that of
`@@aurora_server_id`. The cluster's endpoint is at 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql

from tests.failover.dialects import MONITOR
from tests.failover.network import TcpRelay
from tests.failover.replication import create_accounts
from tests.integration.network import until
from tests.integration.proxy import NATIVE, connect
from tests.integration.targets import TargetProxy, behind
from tests.servers import DatabaseServer, free_port

SCHEMA = "aurora_information"
_TABLE = f"""CREATE TABLE {SCHEMA}.replica_host_status (SERVER_ID VARCHAR(100), SESSION_ID VARCHAR(100),
    REPLICA_LAG_IN_MILLISECONDS DOUBLE, LAST_UPDATE_TIMESTAMP DATETIME(6))"""


def rewrite(data: bytes) -> bytes:
    """Ask for the tables of the test instead. Packets keep their lengths."""
    for asked, instead in ((b"information_schema.replica", SCHEMA.encode() + b".replica"),
                           (b"@@aurora_server_id", b"@@report_host     ")):
        assert len(asked) == len(instead)
        data = data.replace(asked, instead)
    return data


@dataclass(frozen=True)
class Row:
    """A line of a server's list; ``age`` and ``lag`` in seconds."""

    lag: float | None = 0.01
    age: float = 0.0


@contextmanager
def aurora_servers(kind: type[DatabaseServer], prefix: str = "") -> Iterator[dict[str, DatabaseServer]]:
    """Run three servers. ``prefix`` is what their ids have before the number."""
    with ExitStack() as stack:
        servers = {}
        for name in "234":
            servers[name] = server = stack.enter_context(kind(options={"report-host": prefix + name}))
            create_accounts(server)
            server.execute(f"CREATE DATABASE {SCHEMA}", _TABLE)
            server.create_user(MONITOR.name, MONITOR.password, grants=[f"SELECT ON {SCHEMA}.*"])
        yield servers


class AuroraCluster:
    """``with AuroraCluster(servers) as cluster: ...``: the server 2 is the writer, 3 is a reader, 4 is none of it."""

    def __init__(self, servers: Mapping[str, DatabaseServer], *, is_aurora: bool = True, prefix: str = "") -> None:
        """Without ``is_aurora`` the servers do not know of each other."""
        self._prefix = prefix
        self.servers = servers
        says = rewrite if is_aurora else bytes
        self.port = free_port()
        self.relays = {
            name: TcpRelay(server.host, server.port, host=f"127.0.0.{name}", port=self.port, rewrite=says)
            for name, server in servers.items()
        }
        first = servers["2"]
        self.endpoint = TcpRelay(first.host, first.port, port=self.port, rewrite=says)
        self._stack = ExitStack()

    def __enter__(self) -> AuroraCluster:
        for relay in (self.endpoint, *self.relays.values()):
            self._stack.enter_context(relay)
        self.write("2")
        self.have("2", "3")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def write(self, writer: str) -> None:
        """Let one server take writes, the others none. It is the writer in all lists that are made from now on."""
        self.writer = writer
        for name, server in self.servers.items():
            server.execute(f"SET GLOBAL read_only = {int(name != writer)}")

    def have(self, *names: str, **rows: Row) -> None:
        """Make all servers list these, as fresh ones, and ``rows`` by names with a leading ``_``."""
        listed = {**{name: Row() for name in names}, **{name[1:]: row for name, row in rows.items()}}
        values = [
            f"('{self._prefix}{name}', '{'MASTER_SESSION_ID' if name == self.writer else f'session-{name}'}', "
            f"{'NULL' if row.lag is None else row.lag * 1000}, NOW(6) - INTERVAL {row.age} SECOND)"
            for name, row in listed.items()
        ]
        for server in self.servers.values():
            server.execute(
                "START TRANSACTION",
                f"DELETE FROM {SCHEMA}.replica_host_status",
                f"INSERT INTO {SCHEMA}.replica_host_status VALUES {', '.join(values)}",
                "COMMIT",
            )

    def lose(self, *names: str) -> None:
        """Make servers unreachable."""
        for name in names:
            self.relays[name].refuse()
            self.relays[name].reset()

    def lose_all(self) -> None:
        """Make all of them unreachable, and the endpoint."""
        self.lose(*self.relays)
        self.endpoint.refuse()
        self.endpoint.reset()

    def places(self, *names: str) -> list[str]:
        """Give the places of servers, as the log has them."""
        return [f"127.0.0.{name}:{self.port}" for name in names]


class ClusterProxy(TargetProxy):
    """A proxy before a cluster, with another endpoint for readers."""

    def __init__(self, cluster: AuroraCluster, folder: Path, topology: Mapping[str, object]) -> None:
        server = behind(cluster.endpoint, cluster.servers["2"], user=MONITOR)
        super().__init__(server, folder, mode="DISABLED", topology={"check_interval": 0.2, **topology})
        self.cluster = cluster
        self.readers_port = 0

    def _config(self) -> str:
        readers = f'[[proxy.endpoints]]\nname = "readers"\nlisten = ["tcp:0:interface={self.host}"]\n'
        return f'{super()._config()}{readers}target_role = "READ_ONLY"\n'

    def start(self) -> None:
        """Start it and wait until it listens."""
        super().start()
        line = self.wait_for_log(lambda line: line.get("event") == "listening")
        self.readers_port = int(line["listen"][1].rpartition("port=")[2].rstrip(")"))

    def wait_for_targets(self, *names: str, after: int = 0) -> None:
        """Return when the proxy has noted that these are its targets."""
        places = self.cluster.places(*names)
        self.wait_for_log(lambda line: line.get("event") == "targets" and line["targets"] == places, after=after)

    def wait_for_target(self, name: str, *, after: int = 0, **seen: str) -> None:
        """Return when the proxy has noted that a target is like this."""
        (place,) = self.cluster.places(name)
        wanted = {"event": "target", "target": place, **seen}
        self.wait_for_log(lambda line: line.items() >= wanted.items(), after=after)

    def servers_of_readers(self) -> set[str]:
        """Give the names of the servers that a few clients of the readers' endpoint are led to, who all keep theirs."""
        with ExitStack() as stack:
            sessions = [stack.enter_context(connect(self.host, self.readers_port, NATIVE)) for _ in range(3)]
            for session in sessions:
                session.begin()
            return {server_of(session) for session in sessions}

    def wait_until_readers_go_to(self, *names: str) -> None:
        """Return when new clients are led to each of these servers, and to no other."""
        until(lambda: self.servers_of_readers() == set(names), f"readers go to {names}")


class AuroraProxy(ClusterProxy):
    """One with the topology `aurora`."""

    def __init__(self, cluster: AuroraCluster, folder: Path, **topology: object) -> None:
        super().__init__(
            cluster, folder, {"kind": "aurora", "host_pattern": "127.0.0.{server_id}", **topology}
        )


def server_of(session: pymysql.Connection[pymysql.cursors.Cursor]) -> str:
    """Give the name of the server that a session is on."""
    with session.cursor() as cursor:
        cursor.execute("SELECT @@report_host")
        ((name,),) = cursor.fetchall()
    return str(name)[-1]
