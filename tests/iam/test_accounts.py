"""Which users are asked for a token."""

from __future__ import annotations

import time

import pytest

from rdsproxy.credentials import StaticCredentials
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.keys import AccessKey, KeyVerifier
from rdsproxy.interfaces import Credential
from tests.iam.tokens import HOST, KEY_ID, REGION, SECRET, outcome, sign

TOKENS = Credential("app", "Planted-1", "mysql_clear_password")
ADDRESS = "192.0.2.1"
PASSWORD = Credential("other", "Planted-2")


def accounts(*credentials: Credential) -> Accounts:
    keys = {KEY_ID: AccessKey(SECRET, frozenset(("app", "nobody")))}
    return Accounts(StaticCredentials(credentials), KeyVerifier(lambda: keys, HOST, REGION, time.time))


def test_some_have_tokens() -> None:
    some = accounts(TOKENS, PASSWORD)
    assert [some.takes_token(user) for user in (b"app", b"other", b"nobody", b"\xff")] == [True, False, False, False]
    # One who becomes known as a user with tokens while a password is judged is still denied.
    assert some.find(b"app") is None
    assert some.find(b"other") is not None


def test_all_have_tokens() -> None:
    every = accounts(TOKENS)
    assert every.takes_token(b"nobody")
    assert every.default_plugin == "caching_sha2_password"
    outcome(every.prove(b"app", sign("app").encode(), ADDRESS))
    with pytest.raises(TokenError, match="not a user here"):
        outcome(every.prove(b"nobody", sign("nobody").encode(), ADDRESS))
    with pytest.raises(TokenError, match="not UTF-8"):
        outcome(every.prove(b"\xff", sign("app").encode(), ADDRESS))


def test_a_certificate_beside_the_token() -> None:
    both = accounts(Credential("app", "Planted-1", "mysql_clear_password", "CN=orders"))
    token = sign("app").encode()
    outcome(both.prove(b"app", token, ADDRESS, "CN=orders"))
    with pytest.raises(TokenError, match="the client's certificate is for 'CN=other'"):
        outcome(both.prove(b"app", token, ADDRESS, "CN=other"))
    with pytest.raises(TokenError, match="no client certificate"):
        outcome(both.prove(b"app", token, ADDRESS))


def test_without_what_verifies() -> None:
    alone = Accounts(StaticCredentials([TOKENS]))
    with pytest.raises(TokenError, match=r"without \[proxy.iam\]"):
        outcome(alone.prove(b"app", sign("app").encode(), ADDRESS))
