"""The RDS API with a clock: when it is asked, and what is made of its answers and of what servers say."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rdsproxy.config import from_dict
from rdsproxy.errors import StartError
from rdsproxy.service import ProxyService
from rdsproxy.topology.aws import EVERY, AskingThread, Aws
from rdsproxy.topology.health import Health, Role, State
from rdsproxy.topology.rds_api import ApiError, Endpoint, RdsApi
from rdsproxy.topology.target import Place, Target
from tests.test_config import changed
from tests.topology.test_aurora import DOWN, reader, writer

WRITER = Health(State.AVAILABLE, Role.READ_WRITE)
READER = Health(State.AVAILABLE, Role.READ_ONLY)
PATIENCE = 30.0


class Api:
    """Questions that the test answers."""

    def __init__(self) -> None:
        self.asked: list[Deferred[list[Endpoint]]] = []
        self.running = False

    def start(self) -> None:
        self.running = True

    def ask(self) -> Deferred[list[Endpoint]]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def stop(self) -> None:
        self.running = False


class Named:
    """A name that has one address, when the test says so."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.hurries = 0
        self.running = True

    def start(self, found: Callable[[Sequence[Place]], None]) -> None:
        self.found = found
        self.move(f"10.0.0.{ord(self.host[0])}")

    def move(self, address: str) -> None:
        self.found([Place(address, self.port, self.host)])

    def hurry(self) -> None:
        self.hurries += 1

    def stop(self) -> None:
        self.running = False


class Bench:
    """The API of a cluster, a clock, and the targets that were found."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = Api()
        self.named: dict[str, Named] = {}
        self.targets: dict[Place, Target] = {}
        self.discovery = Aws(self.api, self.name, self.clock)
        self.discovery.start(self.found)

    def name(self, host: str, port: int) -> Any:
        self.named[host[0]] = Named(host, port)
        return self.named[host[0]]

    def found(self, places: Sequence[Place]) -> None:
        connector: Any = None
        self.targets = {place: self.targets.get(place) or Target(place, connector) for place in places}

    @property
    def names(self) -> str:
        return "".join(place.name[0] for place in self.targets)

    def answer(self, names: str) -> str:
        """Let the API tell of these; give whom there are."""
        self.api.asked[-1].callback([Endpoint(name, f"{name}.example", 3306) for name in names])
        return self.names

    def fail(self) -> None:
        self.api.asked[-1].errback(ApiError("no"))

    def look(self, **seen: Health) -> str:
        for name, health in seen.items():
            next(target for place, target in self.targets.items() if place.name[0] == name).told(health)
        self.discovery.seen(list(self.targets.values()))
        return self.names

    def wait(self) -> float:
        """Go on to the next question; give the seconds until then."""
        (call,) = self.clock.getDelayedCalls()
        seconds = call.getTime() - self.clock.seconds()
        self.clock.advance(seconds)
        return seconds


def test_all_is_well_and_the_api_is_asked_twice_a_minute() -> None:
    bench = Bench()
    assert bench.api.running
    assert bench.answer("ab") == "ab"
    bench.look(a=WRITER, b=READER)
    for _ in range(3):
        assert EVERY * 0.75 <= bench.wait() <= EVERY * 1.25
        bench.answer("ab")


def test_what_fails_is_asked_again_ever_later() -> None:
    bench = Bench()
    pauses = []
    for _ in range(9):
        bench.fail()
        pauses.append(bench.wait())
    for pause, expected in zip(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30], strict=True):
        assert expected * 0.75 <= pause <= expected * 1.25
    bench.answer("a")
    bench.look(a=WRITER)
    assert bench.wait() >= EVERY * 0.75
    bench.fail()
    assert bench.names == "a", "what is known stays"
    assert bench.wait() <= 1.25


def test_trouble_asks_soon_and_trouble_that_lasts_ever_later() -> None:
    bench = Bench()
    bench.answer("ab")
    bench.look(a=WRITER, b=READER)
    bench.clock.advance(10)
    pauses = []
    for _ in range(7):
        for _ in range(50):  # as often as targets are looked at
            bench.look(a=DOWN)
        pauses.append(bench.wait())
        bench.answer("ab")
    assert pauses[0] <= 0.5
    for pause, expected in zip(pauses[1:], [1, 2, 4, 8, 16, 30], strict=True):
        assert expected * 0.75 <= pause <= expected + 0.5
    bench.look(a=WRITER)
    bench.wait()
    bench.answer("ab")
    bench.clock.advance(10)
    bench.look(a=DOWN)
    assert bench.wait() <= 0.5


def test_names_are_looked_up_at_once_when_nobody_answers() -> None:
    bench = Bench()
    bench.answer("ab")
    bench.look(a=WRITER, b=READER)
    bench.look(a=DOWN)
    assert not bench.named["a"].hurries
    bench.look(b=DOWN)
    assert bench.named["a"].hurries
    bench.named["a"].move("10.0.0.1")
    assert {place.host for place in bench.targets} == {"10.0.0.1", "10.0.0.98"}
    assert {place.name for place in bench.targets} == {"a.example", "b.example"}, "what certificates are for"


def test_servers_that_list_nobody_are_as_the_api_says() -> None:
    bench = Bench()
    bench.answer("ab")
    bench.look(a=WRITER, b=READER)
    bench.wait()
    assert bench.answer("ac") == "ac"
    assert not bench.named["b"].running


def test_servers_that_list_each_other_are_believed_before_the_api() -> None:
    bench = Bench()
    bench.answer("abc")
    assert bench.look(a=writer("a", "b"), b=reader("a", "b")) == "ab"
    bench.wait()
    assert bench.answer("abc") == "ab"
    assert bench.look(a=writer("a", "b", "c")) == "abc"
    bench.wait()
    assert bench.answer("ab") == "abc", "its endpoint is known"
    assert bench.look(a=DOWN, b=DOWN) == "ab", "nobody says anything any more"


def test_of_a_server_that_is_listed_and_not_known_the_api_is_asked() -> None:
    bench = Bench()
    bench.answer("ab")
    bench.clock.advance(10)
    assert bench.look(a=writer("a", "b", "d")) == "ab"
    assert bench.wait() <= 0.5
    assert bench.answer("abd") == "abd"


def test_nothing_goes_on_after_the_end() -> None:
    bench = Bench()
    bench.answer("a")
    bench.discovery.stop()
    assert not bench.clock.getDelayedCalls()
    assert not bench.named["a"].running
    assert not bench.api.running
    asking = Bench()
    asking.discovery.stop()
    assert not asking.clock.getDelayedCalls()


# -- the thread, and boto3 ---------------------------------------------------------------------------------------------


def test_nobody_waits_for_the_thread() -> None:
    begun, end, ended = threading.Event(), threading.Event(), threading.Event()

    def endpoints() -> list[Endpoint]:
        begun.set()
        end.wait(PATIENCE)
        return []

    class Reactor:
        """Takes what a thread hands over."""

        def callFromThread(self, *call: object) -> None:
            ended.set()

    asking = AskingThread(endpoints, Reactor())
    asking.start()
    asking.ask()
    assert begun.wait(PATIENCE)
    asking.stop()
    (thread,) = (thread for thread in threading.enumerate() if "rds-api" in thread.name)
    assert thread.daemon
    end.set()
    assert ended.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_without_boto3_the_start_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "app.json"
    secret.write_text('{"username": "app", "password": "x"}')
    data = changed("target_group.topology", {"kind": "aws", "cluster": "orders"})
    del data["target_group"]["targets"]
    data["proxy"]["auth"][0]["secret"] = f"file:{secret}"
    monkeypatch.setitem(sys.modules, "boto3", None)
    service = ProxyService(from_dict(data), reactor=Clock())
    with pytest.raises(StartError, match=r"kind: 'aws' needs boto3: pip install rdsproxy\[aws\]"):
        service.startService()


def test_what_the_environment_lacks_is_said_and_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    api = RdsApi("orders", None, None)
    with pytest.raises(ApiError, match="region"):
        api.endpoints()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(ApiError, match="credentials"):
        api.endpoints()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # discard: nobody listens
    with pytest.raises(ApiError, match="Could not connect"):
        api.endpoints()
