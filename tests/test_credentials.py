"""Users and passwords from JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from rdsproxy.config import AuthSettings
from rdsproxy.credentials import FileCredentials, SecretError
from rdsproxy.interfaces import Credential, ICredentialProvider


def secret(folder: Path, name: str, content: Any) -> AuthSettings:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return AuthSettings(secret=f"file:{path}")


def test_users_are_found_by_name(tmp_path: Path) -> None:
    app = secret(tmp_path, "app.json", {"username": "app", "password": "hunter2", "engine": "mysql"})
    old = secret(tmp_path, "old.json", {"username": "öld", "password": "pässword"})
    old = AuthSettings(secret=old.secret, client_password_auth_type="MYSQL_NATIVE_PASSWORD")
    credentials = FileCredentials.read([app, old])
    verifyObject(ICredentialProvider, credentials)
    assert credentials.lookup("app") == Credential("app", "hunter2", "caching_sha2_password")
    assert credentials.lookup("öld") == Credential("öld", "pässword", "mysql_native_password")
    assert credentials.lookup("APP") is None
    assert [credential.username for credential in credentials] == ["app", "öld"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{'username': 'hunter2'", "not JSON (line 1 column 2)"),
        (b'{"password": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (["hunter2"], "must be a JSON object with username and password"),
        ({"password": "hunter2"}, 'has no "username"'),
        ({"username": "", "password": "hunter2"}, '"username" is empty'),
        ({"username": "app"}, 'has no "password"'),
        ({"username": "app", "password": 5}, '"password" must be text'),
        ({"username": "app", "password": "hunter2\0"}, '"password" must be text'),
        (b'{"username": "app", "password": "\\ud800hunter2"}', '"password" must be text'),
    ],
)
def test_a_bad_secret_is_named_and_not_shown(tmp_path: Path, content: Any, reason: str) -> None:
    auth = secret(tmp_path, "app.json", content)
    with pytest.raises(SecretError) as caught:
        FileCredentials.read([auth])
    assert str(caught.value) == f"secret {tmp_path / 'app.json'}: {reason}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError) as caught:
        FileCredentials.read([AuthSettings(secret=f"file:{tmp_path / 'none.json'}")])
    assert str(caught.value) == f"secret {tmp_path / 'none.json'}: No such file or directory"


def test_two_secrets_for_one_user_are_refused(tmp_path: Path) -> None:
    first = secret(tmp_path, "a.json", {"username": "app", "password": "1"})
    second = secret(tmp_path, "b.json", {"username": "app", "password": "2"})
    with pytest.raises(SecretError) as caught:
        FileCredentials.read([first, second])
    assert str(caught.value) == f"secret {tmp_path / 'b.json'}: has the same username as {tmp_path / 'a.json'}"


def test_a_password_does_not_show_in_a_repr() -> None:
    assert "hunter2" not in repr(Credential("app", "hunter2"))
