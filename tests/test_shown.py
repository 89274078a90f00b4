"""What holds secrets does not show them: as text, as JSON, and in tracebacks."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

import rdsproxy
from rdsproxy.backend.connection import PoolKey
from rdsproxy.backend.connector import Connector
from rdsproxy.backend.login import LoginError, TLSPolicy
from rdsproxy.config import Config, ConfigError, from_dict
from rdsproxy.credentials import CredentialStore, SecretError, SecretPolicy, StaticCredentials
from rdsproxy.credentials.cached import CachedSecret
from rdsproxy.credentials.environment import EnvironmentSecret
from rdsproxy.credentials.parsing import parse
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.keys import AccessKey, KeyVerifier, parse_keys
from rdsproxy.iam.sts_token import parse_sts_token
from rdsproxy.iam.token import parse_token
from rdsproxy.interfaces import Credential, SecretVersions, UsedSecret
from rdsproxy.protocol.authentication.client import ClientAuthentication
from rdsproxy.protocol.authentication.verifier import Verifier
from rdsproxy.protocol.handshake import ChangeUser, HandshakeResponse
from rdsproxy.wire import Wires
from tests import planted
from tests.iam.sts import sign_sts
from tests.iam.tokens import HOST, KEY_ID, REGION, sign

SECRET = "Planted-Shown-1"
TEXT = json.dumps({"username": "app", "password": SECRET})
POLICY = SecretPolicy(60.0, 60.0)


def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Make each thing that holds a secret."""
    monkeypatch.setenv("SHOWN", TEXT)
    clock: Any = Clock()
    source = EnvironmentSecret("SHOWN")
    yield source
    credential = Credential("app", SECRET, "mysql_native_password")
    yield credential
    yield SecretVersions(TEXT, TEXT, TEXT)
    cached = CachedSecret(UsedSecret(source, "mysql_native_password"), POLICY, lambda: None, clock)
    cached.start()
    assert cached.current is not None
    assert cached.current.password == SECRET
    yield cached
    store = CredentialStore([(source, "mysql_native_password")], POLICY, clock)
    store.start()
    yield store
    static = StaticCredentials([credential])
    yield static
    yield Accounts(static, None)
    yield Connector("10.0.0.5", 3306, TLSPolicy(None, required=False), "", static, Wires(None, clock), clock)
    yield (key := AccessKey(SECRET, frozenset(("app",))))
    yield KeyVerifier(lambda: {KEY_ID: key}, HOST, REGION, clock.seconds)
    yield parse_token(sign("app").encode())
    yield parse_sts_token(sign_sts("app").encode())
    yield Verifier(SECRET, "mysql_native_password", SECRET)
    yield ClientAuthentication(SECRET, secure=True)
    yield HandshakeResponse(0, 0, 45, b"app", SECRET.encode())
    yield ChangeUser(b"app", SECRET.encode())


def test_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    signature = sign("app").rpartition("=")[2]
    for thing in objects(monkeypatch):
        for shown in (repr(thing), str(thing), f"{thing}", repr([thing]), repr({"a": (thing,)})):
            assert SECRET not in shown, type(thing)
            assert signature not in shown, type(thing)


def test_every_part_of_a_class_that_may_be_a_secret_is_hidden() -> None:
    """By its name: so that the next one is not forgotten."""
    suspicious = ("password", "secret", "current", "previous", "pending", "auth_response", "signature")
    seen = set()
    for module in pkgutil.walk_packages(rdsproxy.__path__, "rdsproxy."):
        if module.name.endswith("__main__") or ".config." in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value not in seen:
                for part in dataclasses.fields(value):
                    if part.name in suspicious:
                        seen.add(value)
                        assert not part.repr, f"{value.__name__}.{part.name}"
    assert {one.__name__ for one in seen} >= {
        "Credential",
        "SecretVersions",
        "AccessKey",
        "Presigned",
        "HandshakeResponse",
    }


def config() -> Config:
    return from_dict(
        {
            "proxy": {
                "endpoints": [{"listen": ["tcp:3306"]}],
                "auth": [{"secret": "env:SHOWN"}],
                "init_query": f"SET @key = '{SECRET}'",
            },
            "target_group": {"targets": [{"host": "10.0.0.5"}]},
        }
    )


def test_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the places of secrets alone. SQL may have one in it, and is left out of texts; who asks for it, gets it."""
    monkeypatch.setenv("SHOWN", TEXT)
    whole = config()
    for shown in (repr(whole), str(whole), f"{whole}"):
        assert SECRET not in shown
        planted.keep("config", shown)
    dumped = whole.model_dump_json(exclude={"proxy": {"init_query"}})
    assert SECRET not in dumped
    planted.keep("config", dumped)


@pytest.mark.parametrize("key", ["secret", "secret_arn", "init_query", "keys"])
def test_a_configuration_with_a_secret_in_the_wrong_place(key: str) -> None:
    """Such as a password where its file should be named."""
    data = {
        "proxy": {
            "endpoints": [{"listen": ["tcp:3306"]}],
            "auth": [{"secret": "env:SHOWN"} if key not in ("secret", "secret_arn") else {key: SECRET}],
            **({"init_query": [SECRET]} if key == "init_query" else {}),
            **({"iam": {"verify": "keys", "keys": SECRET, "host": "h", "region": "r"}} if key == "keys" else {}),
        },
        "target_group": {"targets": [{"host": "10.0.0.5"}]},
    }
    with pytest.raises(ConfigError) as caught:
        from_dict(data)
    assert key in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in Failure(caught.value).getTraceback(detail="verbose")


def failing() -> Iterator[tuple[str, type[Exception], Any]]:
    """Give what fails with a secret at hand."""
    yield "a secret", SecretError, lambda: parse("app.json", TEXT[:-1], "caching_sha2_password")
    yield "a part of it", SecretError, lambda: parse("app.json", json.dumps({"user": SECRET}), "caching_sha2_password")
    yield "keys", SecretError, lambda: parse_keys("keys.json", json.dumps({KEY_ID: {"secret_access_key": SECRET}}))
    yield "a token", TokenError, lambda: parse_token(SECRET.encode())
    yield "a verifier", ValueError, lambda: Verifier(SECRET + "\ud800", "mysql_native_password")
    clock: Any = Clock()

    def log_in() -> None:
        users = StaticCredentials([Credential("app", SECRET)])
        connector = Connector("127.0.0.1", 1, TLSPolicy(None, required=False), "", users, Wires(None, clock), clock)
        failures: list[Failure] = []
        connecting = Deferred.fromCoroutine(connector.log_in_as(users, "nobody", lambda *_: None))
        connecting.addErrback(failures.append)
        failures[0].raiseException()

    yield "a login", LoginError, log_in


def test_tracebacks() -> None:
    """Failures keep no locals unless Twisted's debugging is on: then the log's form of them still shows none."""
    for name, kind, fail in failing():
        try:
            fail()
        except kind:
            failure, captured = Failure(), Failure(captureVars=True)
        else:
            raise AssertionError(name)
        for detail in ("brief", "default", "verbose"):
            assert SECRET not in failure.getTraceback(detail=detail), name
        assert SECRET not in captured.getTraceback(), name
        assert SECRET not in repr(failure.value), name


def test_a_key_of_connections() -> None:
    """Is in logs and reprs everywhere: it has a name alone."""
    assert repr(PoolKey("app", found_rows=False)) == "PoolKey('app', found_rows=False)"


def test_equal_keys_of_connections_are_one() -> None:
    key = PoolKey("app", found_rows=False)
    assert PoolKey("app", found_rows=False) is key
    assert PoolKey("app", found_rows=True) is not key
    assert PoolKey("other", found_rows=False) is not key
