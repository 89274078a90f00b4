"""The ways to the writer: rdsproxy, HAProxy with checks that find it, and clients that look for it themselves."""

from __future__ import annotations

import json
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pymysql
from pymysql.constants import CR, ER
from twisted.names import dns

from tests.bench import haproxy, rdsproxy
from tests.bench.failover.scene import NAME, Address, Scene
from tests.bench.processes import HOST, BenchError, Child
from tests.failover.dialects import MONITOR
from tests.failover.dns import NameServer
from tests.integration.network import until
from tests.integration.proxy import NATIVE, connect, one
from tests.servers import free_port

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

CONTESTANTS = ("direct", "haproxy", "rdsproxy")
POOL = 20
HANDSHAKE = 1.0
"""Seconds in which a server has to greet clients that know others."""
READ_ONLY = frozenset({ER.OPTION_PREVENTS_STATEMENT, 1836})
"""Errors of a server that does not accept writes; 1836 is MySQL's ER_READ_ONLY_MODE."""


@dataclass(frozen=True)
class Entrance:
    """How clients come in."""

    address: Callable[[], Address]
    """Where those connect that do not look for the writer."""
    reach: Callable[[], Connection] | None = None
    leave_on: Collection[int] = ()
    """See Bank, both."""


class Contestant(ABC):
    """A way to the writer."""

    name: ClassVar[str]
    setting: ClassVar[str]
    """How it is set up, in a few words."""
    missing: str = ""
    """What to install before it can be measured; empty if nothing."""
    version: str = ""

    @abstractmethod
    @contextmanager
    def running(self, folder: Path, scene: Scene, timeout: float) -> Iterator[Entrance]:
        """Start it, and stop it in the end; its log stays in ``folder``. Raises BenchError if it does not start.

        ``timeout`` are the seconds that clients wait for an answer.
        """
        yield Entrance(lambda: scene.writer)


class Direct(Contestant):
    """No proxy."""

    name = "direct"
    setting = (
        f"clients know both hosts and try one after the other, for {HANDSHAKE:.0f} s each, until one is not read_only; "
        "they leave one that refuses a write"
    )

    @contextmanager
    def running(self, folder: Path, scene: Scene, timeout: float) -> Iterator[Entrance]:
        """Nothing has to run."""
        yield Entrance(lambda: scene.writer, lambda: _find_writer(scene, timeout), READ_ONLY)


def _find_writer(scene: Scene, timeout: float) -> Connection:
    """Connect as clients do that know the servers. Raises MySQLError if none of them takes writes."""
    if scene.names is None:
        addresses = list(scene.addresses.values())
    else:
        addresses = [(host, scene.new.port) for host in resolve(scene.names, NAME)]
    problem = pymysql.OperationalError(CR.CR_CONN_HOST_ERROR, "no host takes writes")
    for host, port in addresses:
        try:
            connection = connect(host, port, NATIVE, connect_timeout=HANDSHAKE, read_timeout=HANDSHAKE)
            if not one(connection, "SELECT @@read_only"):
                # PyMySQL has one timeout for both, the login and what comes after it.
                connection._read_timeout = timeout  # type: ignore[attr-defined]
                return connection
            connection.close()
        except pymysql.OperationalError as error:
            problem = error
    raise problem


def resolve(names: NameServer, name: str) -> list[str]:
    """Ask for the addresses of a name, without a cache between."""
    question = dns.Message(recDes=True)
    question.addQuery(name.encode(), dns.A)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(HANDSHAKE)
        sock.connect((names.host, names.port))
        sock.send(question.toStr())
        answer = dns.Message()
        try:
            answer.fromStr(sock.recv(1 << 12))
        except TimeoutError:
            return []
    payloads: list[Any] = [record.payload for record in answer.answers]
    return [payload.dottedQuad() for payload in payloads if isinstance(payload, dns.Record_A)]


class RdsProxy(Contestant):
    """This checkout's proxy."""

    name = "rdsproxy"
    setting = f"kind replication, or dns; {POOL} database connections; times by default: a look each second"

    def __init__(self) -> None:
        self.version = rdsproxy.RdsProxy().version()

    @contextmanager
    def running(self, folder: Path, scene: Scene, timeout: float) -> Iterator[Entrance]:
        """Run it under twistd."""
        port = free_port()
        for file, account in (("app", NATIVE), ("monitor", MONITOR)):
            secret = {"username": account.name, "password": account.password}
            (folder / f"{file}.json").write_text(json.dumps(secret))
        if scene.names is None:
            topology = 'kind = "replication"'
            targets = list(scene.addresses.values())
        else:
            topology = f'kind = "dns"\ndns_servers = ["{scene.names.host}:{scene.names.port}"]'
            targets = [(NAME, scene.new.port)]
        config = folder / "proxy.toml"
        config.write_text(
            f"""\
[proxy]
name = "bench"
[[proxy.endpoints]]
name = "default"
listen = ["tcp:{port}:interface={HOST}"]
[[proxy.auth]]
secret = "file:app.json"
client_password_auth_type = "{NATIVE.plugin}"
[target_group]
max_connections = {POOL}
[target_group.tls]
mode = "DISABLED"
[target_group.topology]
{topology}
monitor_secret = "file:monitor.json"
"""
            + "".join(f'[[target_group.targets]]\nhost = "{host}"\nport = {number}\n' for host, number in targets)
        )
        child = Child(rdsproxy.twistd(config), folder / "rdsproxy.log", directory=folder)
        try:
            child.wait_for_port(port)
            yield Entrance(lambda: (HOST, port))
        finally:
            child.stop()


class HAProxy(Contestant):
    """HAProxy in TCP mode, which asks an agent for each server whether that takes writes."""

    name = "haproxy"
    setting = (
        "TCP mode, option httpchk to an agent that asks for read_only, inter 1s fall 1 rise 1, "
        "on-marked-down shutdown-sessions"
    )

    def __init__(self) -> None:
        installed = haproxy.HAProxy()
        self.missing = installed.missing
        self.version = "" if self.missing else installed.version()

    @contextmanager
    def running(self, folder: Path, scene: Scene, timeout: float) -> Iterator[Entrance]:
        """Run the agent, then HAProxy, and wait until it knows who is a replica."""
        port, agent_port = free_port(), free_port()
        if scene.names is None:
            # One for each server. They would be on the servers' hosts: what cannot be reached is not asked here either.
            agents = [((HOST, free_port()), address) for address in scene.addresses.values()]
            servers = [
                f"server {name} {host}:{number} check addr {here[0]} port {here[1]}"
                for name, (here, (host, number)) in zip(("first", "second"), agents, strict=True)
            ]
            resolvers = ""
        else:
            agents = [((host, agent_port), (host, number)) for host, number in scene.addresses.values()]
            servers = [
                f"server named {NAME}:{scene.new.port} check port {agent_port}"
                " resolvers bench resolve-prefer ipv4 init-addr none"
            ]
            resolvers = f"""\
resolvers bench
  nameserver bench {scene.names.host}:{scene.names.port}
  timeout resolve 1s
  timeout retry 1s
  hold valid 1s
"""
        config = folder / "haproxy.cfg"
        config.write_text(
            f"""\
global
  nbthread 1
  maxconn 2000
{resolvers}\
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  timeout check 1s
frontend clients
  bind {HOST}:{port}
  default_backend writer
backend writer
  option httpchk GET /
  http-check expect status 200
  default-server inter 1s fall 1 rise 1 on-marked-down shutdown-sessions
"""
            + "".join(f"  {server}\n" for server in servers)
        )
        words = [f"{here[0]}:{here[1]}={host}:{number}" for here, (host, number) in agents]
        agent = Child([sys.executable, "-m", "tests.bench.failover.agent", *words], folder / "agent.log")
        try:
            for (host, number), _ in agents:
                agent.wait_for_port(number, host=host)
            child = Child(["haproxy", "-db", "-f", str(config)], folder / "haproxy.log", directory=folder)
            try:
                child.wait_for_port(port)
                known = "named administratively READY" if scene.names else "second is DOWN"
                _wait_for_log(child, known)
                yield Entrance(lambda: (HOST, port))
            finally:
                child.stop()
        finally:
            agent.stop()


def _wait_for_log(child: Child, text: str) -> None:
    try:
        until(lambda: text in child.log.read_text(errors="replace"), text)
    except AssertionError:
        raise BenchError(f"{child.log.stem} never said {text!r}") from None


def available(names: Collection[str]) -> list[Contestant]:
    """Return the contestants of these names; those that are not installed say so in ``missing``."""
    every: list[Contestant] = [Direct(), HAProxy(), RdsProxy()]
    return [contestant for contestant in every if contestant.name in names]
