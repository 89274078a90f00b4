"""From a secret's text to a user's name and password."""

import json
from typing import Any

from rdsproxy.credentials.errors import SecretError
from rdsproxy.interfaces import ClientPlugin, Credential


def parse(name: str, text: str | bytes, plugin: ClientPlugin, subject: str | None = None) -> Credential:
    """Read the `text` of the secret `name`: a JSON object with ``username`` and ``password``; others are ignored.

    Raises SecretError, which quotes nothing of the text.
    """
    try:
        secret = json.loads(text)
    except json.JSONDecodeError as error:
        # The exception keeps the text and its message may quote some of it; the position says enough.
        raise SecretError(name, f"not JSON (line {error.lineno} column {error.colno})") from None
    except (UnicodeDecodeError, RecursionError):
        raise SecretError(name, "not JSON") from None
    if not isinstance(secret, dict):
        raise SecretError(name, "must be a JSON object with username and password")
    username = _text(name, secret, "username")
    if not username:
        raise SecretError(name, '"username" is empty')
    return Credential(username, _text(name, secret, "password"), plugin, subject)


def _text(name: str, secret: dict[str, Any], key: str) -> str:
    if key not in secret:
        raise SecretError(name, f'has no "{key}"')
    value = secret[key]
    if not isinstance(value, str) or "\0" in value:
        raise SecretError(name, f'"{key}" must be text')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SecretError(name, f'"{key}" must be text') from None
    return value
