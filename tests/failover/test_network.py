"""The relay and the namespace: what they do to connections."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failover.bank import Bank, create_bank
from tests.failover.namespace import Namespace
from tests.failover.network import TcpRelay
from tests.failover.replication import Place, ReplicationSet, create_accounts
from tests.integration.network import PATIENCE, until
from tests.integration.proxy import ROOT
from tests.servers import DatabaseServer, MariaDB

SHORT = 0.2  # seconds in which nothing arrives; nothing would on a slow machine either


class Echo:
    """Answers each connection with its own name, then with what it gets."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(self._name)
                while data := connection.recv(1 << 16):
                    connection.sendall(data)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo(b"first")
    yield echo
    echo.close()


@pytest.fixture
def relay(echo: Echo) -> Iterator[TcpRelay]:
    with TcpRelay("127.0.0.1", echo.port) as relay:
        yield relay


def reach(relay: TcpRelay) -> socket.socket:
    return socket.create_connection((relay.host, relay.port), PATIENCE)


def says(connection: socket.socket, what: bytes) -> bool:
    """Tell whether exactly this arrives."""
    connection.settimeout(PATIENCE)
    got = b""
    while len(got) < len(what) and (data := connection.recv(len(what) - len(got))):
        got += data
    return got == what


def is_silent(connection: socket.socket) -> bool:
    """Tell whether neither bytes nor the end of the connection arrive for a while."""
    readable, _, _ = select.select([connection], [], [], SHORT)
    return not readable


def is_reset(connection: socket.socket) -> bool:
    """Tell whether the connection ends by RST, whatever was said before."""
    connection.settimeout(PATIENCE)
    try:
        while connection.recv(16):
            pass
    except ConnectionResetError:
        return True
    return False


def test_bytes_pass_both_ways_and_so_does_the_end(relay: TcpRelay) -> None:
    with reach(relay) as connection:
        assert says(connection, b"first")
        much = os.urandom(1 << 20)
        sending = threading.Thread(target=connection.sendall, args=(much,))
        sending.start()
        assert says(connection, much)
        sending.join()
        assert relay.connections == 1
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    until(lambda: relay.connections == 0, "the relay closes")
    assert relay.accepted == 1


def test_frozen_nothing_passes_and_then_everything(relay: TcpRelay) -> None:
    with reach(relay) as connection:
        assert says(connection, b"first")
        relay.freeze()
        connection.sendall(b"sent")
        with reach(relay) as late:
            assert is_silent(connection)
            assert is_silent(late)
            relay.thaw()
            assert says(late, b"first")
        assert says(connection, b"sent")


def test_frozen_the_end_does_not_pass_either(relay: TcpRelay) -> None:
    with reach(relay) as connection:
        assert says(connection, b"first")
        relay.freeze()
        connection.shutdown(socket.SHUT_WR)
        assert is_silent(connection)
        relay.thaw()
        assert connection.recv(1) == b""


@pytest.mark.parametrize("frozen", [False, True])
def test_a_reset_ends_all_connections(relay: TcpRelay, frozen: bool) -> None:
    with reach(relay) as one, reach(relay) as other:
        assert says(one, b"first")
        assert says(other, b"first")
        if frozen:
            relay.freeze()
        relay.reset()
        for connection in (one, other):
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        assert relay.connections == 0


def test_a_reset_ends_those_that_are_just_being_accepted(relay: TcpRelay) -> None:
    connections = []
    for _ in range(200):
        connections.append(reach(relay))
        relay.reset()
    until(lambda: relay.accepted == 200, "all are accepted")
    relay.reset()
    assert relay.connections == 0
    for connection in connections:
        with connection:
            assert is_reset(connection)


def test_new_connections_are_refused_and_old_ones_go_on(relay: TcpRelay) -> None:
    with reach(relay) as connection:
        assert says(connection, b"first")
        relay.refuse()
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                reach(relay)
        connection.sendall(b"still")
        assert says(connection, b"still")
        relay.accept()
        with reach(relay) as another:
            assert says(another, b"first")


def test_new_connections_meet_silence_and_old_ones_go_on(relay: TcpRelay) -> None:
    with reach(relay) as connection:
        assert says(connection, b"first")
        relay.silence()
        with reach(relay) as silent:
            silent.sendall(b"hello?")
            assert is_silent(silent)
            connection.sendall(b"still")
            assert says(connection, b"still")
            relay.accept()
            assert is_silent(silent)
            with reach(relay) as another:
                assert says(another, b"first")


def test_it_leads_new_connections_elsewhere(relay: TcpRelay) -> None:
    second = Echo(b"second")
    with reach(relay) as connection:
        assert says(connection, b"first")
        relay.lead_to("127.0.0.1", second.port)
        with reach(relay) as another:
            assert says(another, b"second")
        connection.sendall(b"still")
        assert says(connection, b"still")
        second.close()
        # The reset may come while it still connects.
        with pytest.raises(ConnectionResetError), reach(relay) as lost:
            lost.recv(1)


def test_clients_outlive_a_frozen_network(kind: type[DatabaseServer]) -> None:
    with kind() as server, TcpRelay(server.host, server.port) as relay:
        create_accounts(server)
        create_bank(server)
        with Bank(relay.host, relay.port, clients=4) as bank:
            bank.wait_for_writes()
            relay.freeze()
            with reach(relay) as connection:
                assert is_silent(connection), "a server would greet"
                written = bank.writes
                assert is_silent(connection)
                assert bank.writes == written
            relay.thaw()
            bank.wait_for_writes()
        assert not bank.outcome().errors
        bank.check(server)


def test_a_cut_cable_is_silent_and_once_mended_nothing_is_lost(
    kind: type[DatabaseServer], namespace: Namespace
) -> None:
    with kind(host=namespace.host, inside=namespace.inside) as server:
        create_accounts(server)
        create_bank(server)
        with Bank(server.host, server.port, clients=4) as bank:
            bank.wait_for_writes()
            namespace.cut()
            with pytest.raises(TimeoutError):
                socket.create_connection((server.host, server.port), SHORT)
            namespace.mend()
            bank.wait_for_writes()
        assert not bank.outcome().errors
        bank.check(server)


def test_a_failover_away_from_a_server_that_cannot_be_reached(kind: type[DatabaseServer], namespace: Namespace) -> None:
    places = [Place(namespace.host, inside=namespace.inside), Place(namespace.outside)]
    with ReplicationSet(kind, places=places) as servers:
        old = servers.primary
        create_bank(old)
        with Bank(old.host, old.port, clients=4, timeout=1.0) as bank:
            bank.wait_for_writes()
            namespace.cut()
            new = servers.promote()
            until(lambda: all(line.events[-1].code for line in bank.timelines), "each client has lost its server")
        bank.check(new)
        namespace.mend()
        servers.rejoin(old, as_replica=True)
        bank.check(old)


def test_nothing_of_a_namespace_is_left_when_the_run_is_killed(mariadb: MariaDB, namespace: Namespace) -> None:
    program = (
        "import signal; from tests.failover.namespace import Namespace; from tests.servers import MariaDB;"
        "there = Namespace().__enter__(); server = MariaDB(host=there.host, inside=there.inside); server.start();"
        "print(server.pid, there.device, flush=True); signal.pause()"
    )
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
        )
        with run:
            assert run.stdout is not None
            pid, device = run.stdout.readline().split()
            assert Path(f"/sys/class/net/{device}").exists()
            run.kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), "the server ends")
    until(lambda: not Path(f"/sys/class/net/{device}").exists(), "the kernel takes the network away")
