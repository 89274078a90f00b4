"""Tokens verified against access keys that the proxy has itself: no AWS is asked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from rdsproxy.credentials.errors import SecretError
from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.presigned import SESSION
from rdsproxy.iam.signature import presigned_signature
from rdsproxy.iam.token import parse_token
from rdsproxy.interfaces import ITokenVerifier


@dataclass(frozen=True)
class AccessKey:
    """One principal's secret, and the database users it may log in as."""

    secret: str = field(repr=False)
    users: frozenset[str]


@implementer(ITokenVerifier)
class KeyVerifier:
    """Verifies RDS tokens that are signed for `host` and `region` with one of `keys`, which gives those of now by id.

    `keys` raises TokenUndecidedError if it cannot.
    """

    def __init__(
        self, keys: Callable[[], Mapping[str, AccessKey]], host: str, region: str, clock: Callable[[], float]
    ) -> None:
        self._keys = keys
        self._host = host.lower()
        self._region = region
        self._clock = clock
        # An access key id that is not known takes as long as one that is.
        self._decoy = AccessKey(secrets.token_hex(20), frozenset())

    def verify(self, password: bytes, user: str, address: str) -> Deferred[str]:
        """Tell at once: this asks nobody."""
        return execute(self._verify, password, user)

    def _verify(self, password: bytes, user: str) -> str:
        token = parse_token(password)
        request = token.request
        if SESSION in request.query:
            raise TokenError("it is signed with temporary credentials, which are not among the keys")
        key = self._keys().get(request.access_key_id, self._decoy)
        expected = presigned_signature(key.secret, token.signed_host, request.query, request.date, request.scope)
        genuine = compare_digest(expected, request.signature)
        if key is self._decoy:
            raise TokenError("its access key is not known")
        if not genuine:
            raise TokenError("its signature is wrong: altered, or signed with another secret access key")
        request.check_time(self._clock())
        if token.host != self._host:
            raise TokenError("it is signed for another host")
        if request.region != self._region:
            raise TokenError("it is signed for another region")
        if token.user != user:
            raise TokenError("it is signed for another user")
        if token.user not in key.users:
            raise TokenError("its access key may not log in as this user")
        return request.signature


def parse_keys(name: str, text: str | bytes) -> dict[str, AccessKey]:
    """Read the `text` of the secret `name`: ``{"AKIA...": {"secret_access_key": "...", "users": ["app"]}}``.

    Raises SecretError, which quotes nothing of the text.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise SecretError(name, "not JSON") from None
    if not isinstance(found, dict) or not found:
        raise SecretError(name, "must be a JSON object with an access key id as each of its keys")
    return {key_id: _access_key(name, entry) for key_id, entry in found.items()}


def _access_key(name: str, entry: Any) -> AccessKey:
    secret, users = (entry.get("secret_access_key"), entry.get("users")) if isinstance(entry, dict) else (None, None)
    if isinstance(secret, str) and secret and isinstance(users, list) and all(isinstance(one, str) for one in users):
        return AccessKey(secret, frozenset(users))
    raise SecretError(name, "each access key must have secret_access_key, text, and users, a list of names")
