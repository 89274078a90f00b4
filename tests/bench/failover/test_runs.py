"""One run, from the servers to its numbers, and the agent that tells HAProxy who takes writes."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.failover.agent import Agent
from tests.bench.failover.contestants import Direct, resolve
from tests.bench.failover.events import EVENTS
from tests.bench.failover.measure import measure
from tests.bench.failover.scene import Scene, make_scene
from tests.failover.dns import NameServer
from tests.integration.proxy import ask
from tests.servers import DatabaseServer


@pytest.fixture(scope="module")
def scene(database: DatabaseServer) -> Iterator[Scene]:
    with make_scene(type(database), "plain") as scene:
        yield scene


def test_a_switchover_without_a_proxy_drops_clients_and_loses_nothing(database: DatabaseServer, tmp_path: Path) -> None:
    (switchover,) = [event for event in EVENTS if event.name == "switchover"]
    sample = measure(switchover, Direct(), type(database), tmp_path, 0, clients=4, delay=0.1, timeout=30.0)
    assert sample.dropped == 4
    assert sample.errors.keys() == {"1290 HY000"}
    assert sample.first_write is not None
    assert (sample.lost, sample.doubled, sample.problems) == (0, 0, [])
    assert sum(sample.writes) > 0


def test_the_agent_tells_who_takes_writes(scene: Scene) -> None:
    for server, status in ((scene.old, 200), (scene.new, 503)):
        with Agent(("127.0.0.1", 0), (server.host, server.port)) as agent:
            threading.Thread(target=agent.serve_forever, kwargs={"poll_interval": 0.05}).start()
            try:
                assert ask(http.client.HTTPConnection("127.0.0.1", agent.server_port), "/").status == status
            finally:
                agent.shutdown()


def test_a_name_is_asked_for_anew_each_time() -> None:
    with NameServer() as names:
        names.set("writer.example", "127.0.0.2")
        assert resolve(names, "writer.example") == ["127.0.0.2"]
        names.set("writer.example", "127.0.0.3")
        assert resolve(names, "writer.example") == ["127.0.0.3"]
        assert resolve(names, "other.example") == []
