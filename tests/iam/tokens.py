"""Tokens as AWS's own library makes them, and what becomes of them in wrong hands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from unittest.mock import patch

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Result = TypeVar("Result")

HOST: Final = "proxy.example.com"
REGION: Final = "eu-west-1"
KEY_ID: Final = "AKIAPLANTEDKEY000001"
SECRET: Final = "Planted-secret-access-key-1"


def sign(
    user: str = "app",
    *,
    host: str = HOST,
    port: int = 3306,
    region: str = REGION,
    key_id: str = KEY_ID,
    secret: str = SECRET,
    session: str | None = None,
    service: str = "rds-db",
    action: str = "connect",
    expires: int = 900,
    age: float = 0.0,
    method: str = "GET",
) -> str:
    """Sign as ``generate_db_auth_token`` does, `age` seconds ago."""
    request = AWSRequest(
        method=method, url=f"https://{host}:{port}/", params={"Action": action, "DBUser": user}, headers={}
    )
    url = presigned(request, Credentials(key_id, secret, session), service, region, expires, age)
    return url.removeprefix("https://")


def presigned(
    request: AWSRequest, credentials: Credentials, service: str, region: str, expires: int, age: float
) -> str:
    """Sign a request in its URL as AWS's own library does, `age` seconds ago; give the URL."""
    at = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=age)
    with patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4QueryAuth(credentials, service, region, expires=expires).add_auth(request)
    return str(request.url)


def outcome(deferred: Deferred[Result]) -> Result:
    """Give what it has fired with by now, or raise that."""
    assert deferred.called
    results: list[Result] = []
    failures: list[Failure] = []
    deferred.addCallbacks(results.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return results[0]


def replaced(old: str, new: str) -> Callable[[str], str]:
    """A good token with something else in it."""

    def make(user: str) -> str:
        token = sign(user)
        assert old.replace("{}", user) in token
        return token.replace(old.replace("{}", user), new.replace("{}", user), 1)

    return make


BAD: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "empty": (lambda _: "", "characters that no token has, or none"),
    "password": (lambda _: "Planted-Password", "does not begin with HOST:PORT"),
    "URL": (lambda user: "https://" + sign(user), "does not begin with HOST:PORT"),
    "no port": (replaced(":3306", ""), "does not begin with HOST:PORT"),
    "another path": (replaced("/?", "/x?"), "does not begin with HOST:PORT"),
    "too long": (lambda user: sign(user) + "x" * 8192, "too long"),
    "space": (lambda user: sign(user) + " ", "characters that no token has"),
    "newline": (replaced("DBUser={}", "DBUser={}\n"), "characters that no token has"),
    "not ASCII": (replaced("DBUser={}", "DBUser=ä"), "characters that no token has"),
    "not UTF-8": (replaced("DBUser={}", "DBUser=%ff"), "not UTF-8"),
    "signature cut off": (lambda user: sign(user)[:-1], "form of one"),
    "without signature": (lambda user: sign(user).partition("&X-Amz-Signature")[0], "has no X-Amz-Signature"),
    "half": (lambda user: sign(user).partition("&X-Amz-Date")[0], "perhaps it is cut off"),
    "user twice": (replaced("DBUser={}", "DBUser={}&DBUser={}"), "twice"),
    "without value": (replaced("DBUser={}", "DBUser"), "no value"),
    "more": (replaced("DBUser={}", "DBUser={}&Other=1"), "parameter that no token has"),
    "upper-case signature": (lambda user: _upper_case_signature(sign(user)), "form of one"),
    "signature of zeros": (lambda user: sign(user)[:-64] + "0" * 64, "signature is wrong"),
    "one digit changed": (lambda user: _another_digit(sign(user)), "signature is wrong"),
    "user altered": (lambda user: sign("other").replace("DBUser=other", f"DBUser={user}"), "signature is wrong"),
    "host altered": (lambda user: sign(user, host="x." + HOST).replace("x.", "", 1), "signature is wrong"),
    "port altered": (replaced(":3306", ":3307"), "signature is wrong"),
    "lifetime altered": (lambda user: sign(user, expires=9).replace("Expires=9", "Expires=99"), "signature is wrong"),
    "POST": (lambda user: sign(user, method="POST"), "signature is wrong"),
    "another secret": (lambda user: sign(user, secret="Planted-other"), "signature is wrong"),
    "empty secret": (lambda user: sign(user, secret=""), "signature is wrong"),
    "unknown key": (lambda user: sign(user, key_id="AKIAUNKNOWN"), "access key is not known"),
    "temporary": (lambda user: sign(user, session="Planted-session"), "temporary credentials"),
    "expired": (lambda user: sign(user, age=960), "expired"),
    "short and expired": (lambda user: sign(user, expires=10, age=60), "expired"),
    "of the future": (lambda user: sign(user, age=-600), "in the future"),
    "lives a day": (lambda user: sign(user, expires=86400), "lifetime"),
    "lives for nothing": (lambda user: sign(user, expires=0), "lifetime"),
    "lifetime below zero": (replaced("Expires=900", "Expires=-900"), "lifetime"),
    "another host": (lambda user: sign(user, host="db.example.com"), "another host"),
    "another user": (lambda _: sign("other"), "another user"),
    "user in capitals": (lambda user: sign(user.upper()), "another user"),
    "another region": (lambda user: sign(user, region="us-east-1"), "another region"),
    "another service": (lambda user: sign(user, service="sts"), "another service"),
    "another action": (lambda user: sign(user, action="Connect"), "Action"),
    "another algorithm": (replaced("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "algorithm"),
    "more headers": (replaced("SignedHeaders=host", "SignedHeaders=host%3Bx"), "not host alone"),
    "no date": (replaced("X-Amz-Date=2", "X-Amz-Date=x"), "date is not one"),
    "another day": (replaced("X-Amz-Date=2", "X-Amz-Date=1"), "another day"),
    "no scope": (replaced("%2Faws4_request", ""), "credential"),
}
"""What is wrong, how to make it, and a part of the reason that the log gives."""


def _another_digit(token: str) -> str:
    return token[:-1] + ("1" if token.endswith("0") else "0")


def _upper_case_signature(token: str) -> str:
    return token[:-64] + "A" + token[-63:]
