"""What replication is called by MariaDB and by MySQL: options, accounts and the statements of a failover."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql
from pymysql.constants import ER
from pymysql.cursors import DictCursor

from tests.servers import DatabaseServer, ServerError, User

REPLICATION = User("replication", "Replication-Password-1")
MONITOR = User("monitor", "Monitor-Password-2")
"""May see read_only and the state of replication, and nothing else."""

PATIENCE = 30.0  # seconds that a replica may take to apply what it has


def one(server: DatabaseServer, sql: str, *arguments: object) -> Any:
    """Run a query as root; give the one value of its one row."""
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(sql, arguments or None)
        ((value,),) = cursor.fetchall()
    return value


class Dialect(ABC):
    """Statements in the words of one kind of server.

    A position is text that stands for all transactions up to it. A server that replicates nothing has received
    what it has executed.
    """

    primary_settings: Mapping[str, str]
    """Global variables of a primary that others replicate from; they are options, too."""
    lonely_settings: Mapping[str, str]
    """... of a primary from which nobody replicates: it waits for nobody."""
    replica_settings: Mapping[str, str]
    monitoring: str
    """The privilege that shows the state of replication."""
    is_receiving: str
    """A column of SHOW REPLICA STATUS."""

    @abstractmethod
    def options(self, number: int, ack_timeout: float) -> dict[str, str | None]:
        """Give the options of a server with the id ``number``; a commit waits ``ack_timeout`` seconds for a replica."""

    @abstractmethod
    def follow(self, replica: DatabaseServer, source: DatabaseServer) -> None:
        """Let ``replica`` replicate from ``source``, beginning where it stands."""

    @abstractmethod
    def executed(self, server: DatabaseServer) -> str:
        """Give the position up to which ``server`` has executed everything."""

    @abstractmethod
    def received(self, server: DatabaseServer) -> str:
        """Give the position up to which ``server`` has everything in its logs."""

    @abstractmethod
    def has(self, server: DatabaseServer, position: str) -> bool:
        """Tell whether ``server`` has received everything up to ``position``."""

    @abstractmethod
    def wait_for(self, server: DatabaseServer, position: str, timeout: float = PATIENCE) -> None:
        """Return when ``server`` has executed everything up to ``position``; ServerError after ``timeout`` seconds."""

    def stop_receiving(self, server: DatabaseServer) -> None:
        """Receive nothing more from the source, and go on to apply what has come."""
        server.execute("STOP REPLICA IO_THREAD")

    def leave(self, replica: DatabaseServer) -> None:
        """Stop all replication and forget the source."""
        replica.execute("STOP REPLICA", "RESET REPLICA ALL")

    def wait_until_connected(self, replica: DatabaseServer, timeout: float = PATIENCE) -> None:
        """Return when ``replica`` receives and applies; ServerError if it cannot, or after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            status = self.status(replica)
            if status and not status["Last_SQL_Errno"] and status[self.is_receiving] == "Yes":
                return
            if not status or status["Last_SQL_Errno"] or time.monotonic() > deadline:
                raise ServerError(f"{replica.kind} at port {replica.port} does not replicate: {status}")
            time.sleep(0.01)  # between two looks

    def status(self, server: DatabaseServer) -> dict[str, Any] | None:
        """Give the line that shows the state of replication; None on a server that does not replicate."""
        with server.admin() as connection, connection.cursor(DictCursor) as cursor:
            cursor.execute("SHOW REPLICA STATUS")
            return cursor.fetchone()

    def change(self, server: DatabaseServer, settings: Mapping[str, str]) -> None:
        """Set global variables now, and as options for the next start.

        ``read_only`` waits for the statements under way, and new ones wait for it: also those of a transaction that has
        a row lock for which one under way waits. So it soon gives up, and tries again with more patience.
        """
        statements = [f"SET GLOBAL {name} = {value}" for name, value in settings.items()]
        deadline = time.monotonic() + PATIENCE
        patience = 0.1
        while not _executed(server, statements, patience):
            if time.monotonic() > deadline:
                raise ServerError(f"{server.kind} at port {server.port} cannot be set to {dict(settings)}")
            patience *= 1.5
        change_options(server, settings)

    def _not_there(self, server: DatabaseServer, position: str) -> ServerError:
        return ServerError(f"{server.kind} at port {server.port} never came to {position}: {self.status(server)}")


def _executed(server: DatabaseServer, statements: Sequence[str], patience: float) -> bool:
    """Run statements as root; tell whether they were done within ``patience`` seconds, and otherwise stop."""
    with server.admin() as connection, connection.cursor() as cursor:
        # The server's own lock_wait_timeout has whole seconds.
        timer = threading.Timer(patience, server.execute, [f"KILL QUERY {connection.thread_id()}"])
        timer.start()
        try:
            for statement in statements:
                cursor.execute(statement)
        except pymysql.MySQLError as error:
            if error.args[0] != ER.QUERY_INTERRUPTED:
                raise
            return False
        finally:
            timer.cancel()
            timer.join()
    return True


def change_options(server: DatabaseServer, settings: Mapping[str, str | None]) -> None:
    """Change what ``server`` is started with the next time."""
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        kept = [word for word in server.options if word.partition("=")[0] != option]
        server.options = [*kept, option if value is None else f"{option}={value}"]


class MariaDBDialect(Dialect):
    """MariaDB 10.5 and later: GTIDs of one domain, semi-synchronous replication built in."""

    primary_settings = {"rpl_semi_sync_master_enabled": "ON", "read_only": "OFF"}
    lonely_settings = {"rpl_semi_sync_master_enabled": "OFF", "read_only": "OFF"}
    replica_settings = {"read_only": "ON", "rpl_semi_sync_master_enabled": "OFF"}
    monitoring = "REPLICA MONITOR"
    is_receiving = "Slave_IO_Running"

    def options(self, number: int, ack_timeout: float) -> dict[str, str | None]:
        """Give options in MariaDB's words."""
        return {
            "server-id": str(number),
            "log-bin": "binlog",
            "binlog-format": "ROW",
            "log-slave-updates": "ON",
            "relay-log": "relay",
            "relay-log-recovery": "ON",
            "gtid-strict-mode": "ON",
            "rpl-semi-sync-slave-enabled": "ON",
            # STOP SLAVE connects to the source, to end its own connection there. The source may be frozen.
            "rpl-semi-sync-slave-kill-conn-timeout": "1",
            "rpl-semi-sync-master-wait-point": "AFTER_SYNC",
            "rpl-semi-sync-master-timeout": str(round(ack_timeout * 1000)),
        }

    def follow(self, replica: DatabaseServer, source: DatabaseServer) -> None:
        """Begin behind what is in the binary log: also on a server that was a primary."""
        replica.execute(
            "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos",
            f"CHANGE MASTER TO master_host = '{source.host}', master_port = {source.port},"
            f" master_user = '{REPLICATION.name}', master_password = '{REPLICATION.password}',"
            " master_use_gtid = slave_pos, master_connect_retry = 1",
            "START REPLICA",
        )

    def executed(self, server: DatabaseServer) -> str:
        """Give a GTID, or nothing for a server that never wrote."""
        return str(one(server, "SELECT @@GLOBAL.gtid_binlog_pos"))

    def received(self, server: DatabaseServer) -> str:
        """Give a GTID, or nothing."""
        status = self.status(server)
        return max(self.executed(server), status["Gtid_IO_Pos"] if status else "", key=_sequence)

    def has(self, server: DatabaseServer, position: str) -> bool:
        """Compare sequence numbers: there is one domain, and never two primaries that others replicate from.

        But a primary that failed may have used a number that the next one uses for something else. What became of
        each server's own transactions is known of those that are executed.
        """
        if not position:
            return True
        if self.status(server):
            return _sequence(self.received(server)) >= _sequence(position)
        state = str(one(server, "SELECT @@GLOBAL.gtid_binlog_state"))
        latest = {_server(last): _sequence(last) for last in state.split(",")}
        return latest.get(_server(position), 0) >= _sequence(position)

    def wait_for(self, server: DatabaseServer, position: str, timeout: float = PATIENCE) -> None:
        """Let the server wait, if there is something to wait for."""
        if _sequence(self.executed(server)) < _sequence(position) and one(
            server, "SELECT MASTER_GTID_WAIT(%s, %s)", position, timeout
        ):
            raise self._not_there(server, position)


def _sequence(position: str) -> int:
    return int(position.rpartition("-")[2] or 0)


def _server(position: str) -> str:
    return position.rpartition("-")[0]


class MySQLDialect(Dialect):
    """MySQL 8.4 and later: sets of GTIDs, semi-synchronous replication by plugins."""

    primary_settings = {"rpl_semi_sync_source_enabled": "ON", "super_read_only": "OFF", "read_only": "OFF"}
    lonely_settings = {**primary_settings, "rpl_semi_sync_source_enabled": "OFF"}
    replica_settings = {"read_only": "ON", "super_read_only": "ON", "rpl_semi_sync_source_enabled": "OFF"}
    monitoring = "REPLICATION CLIENT"
    is_receiving = "Replica_IO_Running"

    def options(self, number: int, ack_timeout: float) -> dict[str, str | None]:
        """Give options in MySQL's words."""
        return {
            "server-id": str(number),
            "log-bin": "binlog",
            "sync-binlog": "0",
            "relay-log": "relay",
            "relay-log-recovery": "ON",
            "gtid-mode": "ON",
            "enforce-gtid-consistency": "ON",
            # Its thread makes a shutdown wait eight seconds for nothing, when there are replicas.
            "event-scheduler": "OFF",
            "plugin-load": "semisync_source.so;semisync_replica.so",
            "rpl-semi-sync-replica-enabled": "ON",
            "rpl-semi-sync-source-timeout": str(round(ack_timeout * 1000)),
        }

    def follow(self, replica: DatabaseServer, source: DatabaseServer) -> None:
        """Begin with what is not executed yet."""
        replica.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{source.host}', SOURCE_PORT = {source.port},"
            f" SOURCE_USER = '{REPLICATION.name}', SOURCE_PASSWORD = '{REPLICATION.password}',"
            # caching_sha2_password without TLS
            " GET_SOURCE_PUBLIC_KEY = 1,"
            " SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 1000",
            "START REPLICA",
        )

    def executed(self, server: DatabaseServer) -> str:
        """Give a set of GTIDs."""
        return str(one(server, "SELECT @@GLOBAL.gtid_executed")).replace("\n", "")

    def received(self, server: DatabaseServer) -> str:
        """Give a set of GTIDs."""
        status = self.status(server)
        sets = [self.executed(server), status["Retrieved_Gtid_Set"].replace("\n", "") if status else ""]
        return ",".join(filter(None, sets))

    def has(self, server: DatabaseServer, position: str) -> bool:
        """Ask the server itself: sets overlap in many ways."""
        return bool(one(server, "SELECT GTID_SUBSET(%s, %s)", position, self.received(server)))

    def wait_for(self, server: DatabaseServer, position: str, timeout: float = PATIENCE) -> None:
        """Let the server wait."""
        if one(server, "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)", position, timeout):
            raise self._not_there(server, position)


DIALECTS: dict[str, Dialect] = {"mariadb": MariaDBDialect(), "mysql": MySQLDialect()}


def dialect_of(server: DatabaseServer) -> Dialect:
    """Give the words of ``server``."""
    return DIALECTS[server.kind]
