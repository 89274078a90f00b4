"""Secrets on the machine, in files and in the environment, and what their text may be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from rdsproxy.config import AuthSettings
from rdsproxy.credentials import SecretError, StaticCredentials
from rdsproxy.credentials.building import local_source, read_local
from rdsproxy.credentials.environment import EnvironmentSecret
from rdsproxy.credentials.file import FileSecret
from rdsproxy.credentials.parsing import parse
from rdsproxy.interfaces import Credential, ICredentialProvider, ISecretSource, SecretVersions


def secret(folder: Path, name: str, content: Any) -> AuthSettings:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return AuthSettings(secret=f"file:{path}")


def now(reading: Deferred[SecretVersions]) -> SecretVersions:
    """Give what a read has given, without waiting."""
    results: list[SecretVersions | Failure] = []
    reading.addBoth(results.append)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    assert isinstance(result, SecretVersions)
    return result


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{'username': 'hunter2'", "not JSON (line 1 column 2)"),
        (b'{"password": "\xff"}', "not JSON"),
        (b"\0\xffhunter2", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"", "not JSON (line 1 column 1)"),
        (["hunter2"], "must be a JSON object with username and password"),
        ({"password": "hunter2"}, 'has no "username"'),
        ({"username": "", "password": "hunter2"}, '"username" is empty'),
        ({"username": "app"}, 'has no "password"'),
        ({"username": "app", "password": 5}, '"password" must be text'),
        ({"username": "app", "password": "hunter2\0"}, '"password" must be text'),
        (b'{"username": "app", "password": "\\ud800hunter2"}', '"password" must be text'),
    ],
)
def test_a_bad_secret_is_named_and_not_shown(content: Any, reason: str) -> None:
    text = content if isinstance(content, bytes) else json.dumps(content)
    with pytest.raises(SecretError) as caught:
        parse("app.json", text, "caching_sha2_password")
    assert str(caught.value) == f"secret app.json: {reason}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_other_keys_are_ignored() -> None:
    text = '{"username": "öld", "password": "pässword", "engine": "mysql", "host": "db"}'
    expected = Credential("öld", "pässword", "mysql_native_password")
    assert parse("app.json", text, "mysql_native_password") == expected
    assert parse("app.json", text.encode(), "mysql_native_password") == expected


def test_nothing_shows_in_a_repr() -> None:
    assert "hunter2" not in repr(Credential("app", "hunter2"))
    assert "hunter2" not in repr(SecretVersions("hunter2", "hunter2", "hunter2"))


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.json"
    path.write_bytes(b"first")
    source = FileSecret(path)
    verifyObject(ISecretSource, source)
    assert now(source.read(False)) == SecretVersions(b"first")
    with monkeypatch.context() as patch:
        patch.delattr(Path, "read_bytes")
        assert now(source.read(True)) == SecretVersions(b"first"), "a file that is as it was is not read"
    replace(path, b"second")
    assert now(source.read(False)) == SecretVersions(b"second")
    path.write_bytes(b"third")
    assert now(source.read(False)) == SecretVersions(b"third")


def replace(path: Path, content: bytes) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(content)
    other.replace(path)


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes mounts secrets."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.json").write_text(name)
        os.utime(tmp_path / name / "app.json", (1, 1))
    link = tmp_path / "data"
    link.symlink_to("one")
    source = FileSecret(link / "app.json")
    assert now(source.read(False)).current == b"one"
    link.unlink()
    link.symlink_to("two")
    assert now(source.read(False)).current == b"two"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    source = FileSecret(tmp_path / "none.json")
    with pytest.raises(SecretError) as caught:
        now(source.read(False))
    assert str(caught.value) == f"secret {tmp_path / 'none.json'}: No such file or directory"


# -- the environment ---------------------------------------------------------------------------------------------------


def test_a_variable_has_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    source = local_source("env:APP_SECRET")
    assert isinstance(source, EnvironmentSecret)
    verifyObject(ISecretSource, source)
    monkeypatch.delenv("APP_SECRET", raising=False)
    with pytest.raises(SecretError, match=r"^secret env:APP_SECRET: the environment variable is not set$"):
        now(source.read(False))
    monkeypatch.setenv("APP_SECRET", "text")
    assert now(source.read(False)) == SecretVersions("text")


# -- several -----------------------------------------------------------------------------------------------------------


def test_local_secrets_are_read_for_a_look(tmp_path: Path) -> None:
    app = secret(tmp_path, "app.json", {"username": "app", "password": "1"})
    again = secret(tmp_path, "again.json", {"username": "app", "password": "2"})
    bad = secret(tmp_path, "bad.json", {"username": "bad"})
    managed = AuthSettings(secret_arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-AbCdEf")
    read = read_local([app, again, bad, managed])
    assert [one if isinstance(one, Credential) else str(one) for one in read] == [
        Credential("app", "1"),
        f"secret {tmp_path / 'again.json'}: has the same username as {tmp_path / 'app.json'}",
        f'secret {tmp_path / "bad.json"}: has no "password"',
    ]


def test_users_who_do_not_change() -> None:
    users = StaticCredentials([Credential("app", "1"), Credential("old", "2", "mysql_native_password")])
    verifyObject(ICredentialProvider, users)
    assert users.usernames() == ["app", "old"]
    assert users.accepted("app") == (Credential("app", "1"),)
    assert users.accepted("APP") == ()
    assert users.default_plugin == "caching_sha2_password"
    only_old = StaticCredentials([Credential("old", "2", "mysql_native_password")])
    assert only_old.default_plugin == "mysql_native_password"
