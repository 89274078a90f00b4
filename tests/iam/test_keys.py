"""Tokens that AWS's library signs, verified against access keys."""

from __future__ import annotations

import time

import boto3
import pytest

from rdsproxy.credentials import SecretError
from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.keys import AccessKey, KeyVerifier, parse_keys
from rdsproxy.iam.token import parse_token
from tests.iam.tokens import BAD, HOST, KEY_ID, REGION, SECRET, outcome, sign

ADDRESS = "192.0.2.1"


@pytest.fixture
def verifier() -> KeyVerifier:
    return KeyVerifier(lambda: {KEY_ID: AccessKey(SECRET, frozenset(("app", "ü/+ &=%")))}, HOST, REGION, time.time)


@pytest.mark.parametrize("user", ["app", "ü/+ &=%"])
@pytest.mark.parametrize("port", [443, 3306])
def test_a_token_of_boto3(verifier: KeyVerifier, user: str, port: int) -> None:
    client = boto3.client("rds", region_name=REGION, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET)
    outcome(verifier.verify(client.generate_db_auth_token(HOST, port, user).encode(), user, ADDRESS))


def test_hosts_have_no_case_and_clocks_differ(verifier: KeyVerifier) -> None:
    outcome(verifier.verify(sign(host=HOST.upper()).encode(), "app", ADDRESS))
    outcome(verifier.verify(sign(age=-240).encode(), "app", ADDRESS))
    outcome(verifier.verify(sign(age=840).encode(), "app", ADDRESS))


@pytest.mark.parametrize("what", BAD)
def test_a_bad_token(verifier: KeyVerifier, what: str) -> None:
    make, reason = BAD[what]
    with pytest.raises(TokenError, match=reason):
        outcome(verifier.verify(make("app").encode(), "app", ADDRESS))


def test_a_key_for_another_user(verifier: KeyVerifier) -> None:
    with pytest.raises(TokenError, match="may not log in as this user"):
        outcome(verifier.verify(sign("root").encode(), "root", ADDRESS))


def test_nothing_shows_what_is_secret() -> None:
    token = sign()
    assert token[-64:] not in repr(parse_token(token.encode()))
    assert SECRET not in repr(AccessKey(SECRET, frozenset()))


def test_keys_of_a_secret() -> None:
    text = '{"AKIA": {"secret_access_key": "Planted-1", "users": ["app"]}}'
    assert parse_keys("file", text) == {"AKIA": AccessKey("Planted-1", frozenset(("app",)))}


@pytest.mark.parametrize(
    "text", ["Planted-1", "[]", "{}", '{"A": "Planted-1"}', '{"A": {"secret_access_key": "Planted-1", "users": "app"}}']
)
def test_a_broken_secret(text: str) -> None:
    with pytest.raises(SecretError) as caught:
        parse_keys("keys.json", text)
    assert "Planted" not in str(caught.value)
