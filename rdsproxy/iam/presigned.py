"""What the tokens of RDS and of STS have in common: a presigned GET request, of which all that matters is its query."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.signature import ALGORITHM

MAX_LIFETIME: Final = 900
"""Seconds; what RDS allows a token to live."""
MAX_SKEW: Final = 300
"""Seconds by which the clock of who signed may be ahead of ours."""
MAX_SIZE: Final = 8192
"""Bytes; a token is seldom more than two thousand."""
SESSION: Final = "X-Amz-Security-Token"
"""What temporary credentials add."""

_SIGNATURE: Final = "X-Amz-Signature"
_PARAMETERS: Final = frozenset(
    (
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        _SIGNATURE,
    )
)
_PRINTABLE: Final = re.compile(rb"[\x21-\x7e]+")


@dataclass(frozen=True)
class Presigned:
    """A query that is well-formed, of which nothing is proven yet."""

    access_key_id: str
    region: str
    scope: str
    """``YYYYMMDD/REGION/SERVICE/aws4_request``."""
    date: str
    """``YYYYMMDDTHHMMSSZ``."""
    signed_at: float
    """The same, in seconds since 1970."""
    good_until: float
    """Seconds since 1970."""
    signature: str = field(repr=False)
    """64 hexadecimal digits. However else a token may be written, they stay the same."""
    query: dict[str, str] = field(repr=False)
    """All parameters but the signature."""

    def check_time(self, now: float) -> None:
        """Raise TokenError unless it is good at `now`, seconds since 1970."""
        if self.signed_at > now + MAX_SKEW:
            raise TokenError("it is signed in the future: compare the clocks")
        if now > self.good_until:
            raise TokenError("it has expired")


def printable(password: bytes) -> str:
    """Give what a client sent as its password. Raises TokenError if no token can look like that."""
    if len(password) > MAX_SIZE:
        raise TokenError("it is too long for a token")
    if not _PRINTABLE.fullmatch(password):
        raise TokenError("it has characters that no token has, or none")
    return password.decode("ascii")


def read_query(text: str, *, own: Collection[str], service: str, headers: str) -> Presigned:
    """Read a query that has the parameters `own`, those of a signature for `service` and these `headers`, each once.

    Raises TokenError.
    """
    query = _parameters(text, _PARAMETERS.union(own))
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise TokenError(f"its algorithm is not {ALGORITHM}")
    if query["X-Amz-SignedHeaders"] != headers:
        raise TokenError(f"the headers that are signed are not {headers.replace(';', ', ')} alone")
    signature = query.pop(_SIGNATURE)
    if not re.fullmatch("[0-9a-f]{64}", signature):
        raise TokenError("its signature has not the form of one")
    date, lifetime = query["X-Amz-Date"], query["X-Amz-Expires"]
    signed_at = _seconds(date)
    if not re.fullmatch("[1-9][0-9]{0,5}", lifetime) or int(lifetime) > MAX_LIFETIME:
        raise TokenError(f"its lifetime is not 1 to {MAX_LIFETIME} seconds")
    key_id, _, scope = query["X-Amz-Credential"].partition("/")
    parts = scope.split("/")
    if not key_id or len(parts) != 4 or parts[3] != "aws4_request":
        raise TokenError("its credential has not the form of one")
    if parts[2] != service:
        raise TokenError(f"it is signed for another service than {service}")
    if parts[0] != date[:8]:
        raise TokenError("its credential is of another day than its date")
    return Presigned(key_id, parts[1], scope, date, signed_at, signed_at + int(lifetime), signature, query)


def _seconds(date: str) -> float:
    try:
        if re.fullmatch("[0-9]{8}T[0-9]{6}Z", date):
            return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        pass  # the 31st of February
    raise TokenError("its date is not one")


def _parameters(text: str, needed: frozenset[str]) -> dict[str, str]:
    query: dict[str, str] = {}
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        if not equals:
            raise TokenError("a parameter has no value")
        if name in query:
            raise TokenError("a parameter is there twice")
        if name not in needed and name != SESSION:
            raise TokenError("it has a parameter that no token has")
        try:
            query[name] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise TokenError("a parameter is not UTF-8") from None
    missing = sorted(needed - query.keys())
    if missing:
        raise TokenError(f"it has no {missing[0]}: perhaps it is cut off")
    return query
