"""Credentials from JSON files, read once at start."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from zope.interface import implementer

from rdsproxy.config import AuthSettings
from rdsproxy.errors import StartError
from rdsproxy.interfaces import Credential, ICredentialProvider


class SecretError(StartError):
    """A secret that cannot be used: one line with the file and what is wrong, never what the file holds."""


@implementer(ICredentialProvider)
class FileCredentials:
    """The users of ``[[proxy.auth]]`` whose secrets are files: ``{"username": ..., "password": ...}``."""

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._by_username = {credential.username: credential for credential in credentials}

    @classmethod
    def read(cls, auth: Iterable[AuthSettings]) -> Self:
        """Read the secret of each of *auth*. Raises ``SecretError``; two secrets for one user are an error too."""
        paths: dict[str, Path] = {}
        credentials = []
        for entry in auth:
            path = entry.secret_file
            username, password = _read_secret(path)
            if username in paths:
                raise SecretError(f"secret {path}: has the same username as {paths[username]}")
            paths[username] = path
            credentials.append(Credential(username, password, entry.client_plugin))
        return cls(credentials)

    def lookup(self, username: str) -> Credential | None:
        """Give the credential of *username*, or ``None`` if there is no such user."""
        return self._by_username.get(username)

    def __iter__(self) -> Iterator[Credential]:
        return iter(self._by_username.values())


def _read_secret(path: Path) -> tuple[str, str]:
    try:
        secret = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SecretError(f"secret {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        # The exception keeps the text and its message may quote none of it; the position says enough.
        raise SecretError(f"secret {path}: not JSON (line {error.lineno} column {error.colno})") from None
    except (UnicodeDecodeError, RecursionError):
        raise SecretError(f"secret {path}: not JSON") from None
    if not isinstance(secret, dict):
        raise SecretError(f"secret {path}: must be a JSON object with username and password")
    username = _text(secret, "username", path)
    if not username:
        raise SecretError(f'secret {path}: "username" is empty')
    return username, _text(secret, "password", path)


def _text(secret: dict[str, Any], key: str, path: Path) -> str:
    if key not in secret:
        raise SecretError(f'secret {path}: has no "{key}"')
    value = secret[key]
    if not isinstance(value, str) or "\0" in value:
        raise SecretError(f'secret {path}: "{key}" must be text')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SecretError(f'secret {path}: "{key}" must be text') from None
    return value
