"""Secrets Manager as moto's server plays it: what is asked, in which thread, and what is made of the answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from zope.interface.verify import verifyObject

from rdsproxy.credentials import SecretError, SecretUnavailableError
from rdsproxy.credentials.secrets_manager import ManagedSecret
from rdsproxy.credentials.secrets_manager import SecretsManager as Api
from rdsproxy.interfaces import ISecretSource, SecretVersions
from tests.credentials.secrets_manager import REGION, SecretsManager

PATIENCE = 60.0  # seconds
FIRST = '{"username": "app", "password": "hunter1"}'
SECOND = '{"username": "app", "password": "hunter2"}'
THIRD = '{"username": "app", "password": "hunter3"}'


class Reactor:
    """Takes what threads hand over."""

    def __init__(self) -> None:
        self._calls: queue.Queue[tuple[Any, ...]] = queue.Queue()

    def callFromThread(self, *call: Any) -> None:
        self._calls.put(call)

    def turn(self) -> None:
        """Wait for one call, and make it."""
        function, *arguments = self._calls.get(timeout=PATIENCE)
        function(*arguments)


class Bench:
    """The API as the proxy uses it."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.api = Api(self.reactor)
        self.api.start()

    def secret(self, arn: str) -> ManagedSecret:
        return self.api.secret(arn, 60.0)

    def read(self, secret: ManagedSecret, *, refused: bool = False) -> SecretVersions:
        results: list[Any] = []
        secret.read(refused).addBoth(results.append)
        assert not results, "not at once: nothing is asked on this thread"
        self.reactor.turn()
        (result,) = results
        if not isinstance(result, SecretVersions):
            result.raiseException()
        assert isinstance(result, SecretVersions)
        return result

    def watch(self, event: str, seen: Callable[..., None]) -> None:
        """Have `seen` called before each question, in its thread."""
        self.api.client(REGION).meta.events.register(f"{event}.secrets-manager.GetSecretValue", seen)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.api.stop()


def test_versions_are_read_as_far_as_they_are_needed(manager: SecretsManager, bench: Bench) -> None:
    with manager.running():
        arn = manager.create("app", FIRST)
        secret = bench.secret(arn)
        verifyObject(ISecretSource, secret)
        asked: list[str] = []
        bench.watch("provide-client-params", lambda params, **_: asked.append(params["VersionStage"]))
        assert bench.read(secret).current == FIRST
        assert asked == ["AWSCURRENT", "AWSPREVIOUS"]
        bench.read(secret)
        assert asked[2:] == ["AWSCURRENT"]
        manager.put(arn, SECOND, "AWSPENDING")
        found = bench.read(secret)
        assert (found.current, found.previous, found.pending) == (FIRST, None, None)
        found = bench.read(secret, refused=True)
        assert (found.current, found.previous, found.pending) == (FIRST, None, SECOND)
        manager.finish(arn, manager.put(arn, THIRD, "AWSPENDING"))
        del asked[:]
        found = bench.read(secret, refused=True)
        assert (found.current, found.previous, found.pending) == (THIRD, FIRST, None)
        assert asked == ["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"]
        assert 0 <= found.age < 3600


def test_the_reactor_never_waits(manager: SecretsManager, bench: Bench) -> None:
    with manager.running():
        secret = bench.secret(manager.create("app", FIRST))
        threads: list[threading.Thread] = []
        bench.watch("before-call", lambda **_: threads.append(threading.current_thread()))
        bench.read(secret)
    assert threads
    for thread in threads:
        assert thread is not threading.main_thread()
        assert "secrets" in thread.name
        assert thread.daemon


def test_a_binary_secret_is_refused(manager: SecretsManager, bench: Bench) -> None:
    with manager.running():
        arn = manager.create("app", b"\x00hunter2")
        with pytest.raises(SecretError) as caught:
            bench.read(bench.secret(arn))
    assert str(caught.value) == f"secret {arn}: is binary; must be the text of a JSON object with username and password"
    assert not isinstance(caught.value, SecretUnavailableError)


def test_a_secret_that_does_not_exist_is_not_waited_for(manager: SecretsManager, bench: Bench) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:none-AbCdEf"
    with manager.running(), pytest.raises(SecretError, match="ResourceNotFoundException") as caught:
        bench.read(bench.secret(arn))
    assert not isinstance(caught.value, SecretUnavailableError)


def test_an_api_that_is_away_is_waited_for(manager: SecretsManager, bench: Bench) -> None:
    with manager.running():
        secret = bench.secret(manager.create("app", FIRST))
    with pytest.raises(SecretUnavailableError, match="Could not connect to the endpoint"):
        bench.read(secret)
    with manager.running():
        assert bench.read(secret).current == FIRST


def test_what_the_environment_lacks_is_looked_for_again(
    manager: SecretsManager, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with manager.running():
        secret = bench.secret(manager.create("app", FIRST))
        with monkeypatch.context() as patch:
            patch.delenv("AWS_ACCESS_KEY_ID")
            patch.delenv("AWS_SECRET_ACCESS_KEY")
            with pytest.raises(SecretUnavailableError, match="credentials"):
                bench.read(secret)
        assert bench.read(secret).current == FIRST


def test_the_region_is_that_of_the_secret(
    manager: SecretsManager, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with manager.running():
        arn = manager.create("app", FIRST)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        assert bench.read(bench.secret(arn)).current == FIRST
        with pytest.raises(SecretError, match="ResourceNotFoundException"):
            bench.read(bench.secret(arn.replace(REGION, "us-east-1")))


def test_a_profile_may_name_endpoint_and_role(
    manager: SecretsManager, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile base]\naws_access_key_id = base\naws_secret_access_key = base\nregion = {REGION}\n"
        f"[profile proxy]\nrole_arn = arn:aws:iam::123456789012:role/proxy\nsource_profile = base\n"
        f"region = {REGION}\nendpoint_url = {manager.url}\n"
    )
    with manager.running():
        arn = manager.create("app", FIRST)
        for variable in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(variable)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv("AWS_PROFILE", "proxy")
        # The role is asked for at the endpoint that the base profile would use, which is AWS's own.
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", manager.url)
        signed: list[str] = []
        bench.watch("before-send", lambda request, **_: signed.append(str(request.headers["Authorization"])))
        assert bench.read(bench.secret(arn)).current == FIRST
    assert signed
    assert all("Credential=ASIA" in one for one in signed), "the role's own keys"


def test_a_policy_may_allow_the_current_version_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, Any]:
            if VersionStage != "AWSCURRENT":
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetSecretValue")
            return {"VersionId": "1", "SecretString": FIRST, "CreatedDate": datetime.now(UTC)}

    monkeypatch.setattr(bench.api, "client", lambda region: Client())
    secret = bench.secret(f"arn:aws:secretsmanager:{REGION}:123456789012:secret:app-AbCdEf")
    found = bench.read(secret, refused=True)
    assert (found.current, found.previous, found.pending) == (FIRST, None, None)
