"""The token that AWS's tools make for RDS (``generate_db_auth_token``): a presigned request without ``https://``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.presigned import Presigned, printable, read_query

_PARAMETERS: Final = ("Action", "DBUser")
_PLACE: Final = re.compile(r"([A-Za-z0-9.-]{1,253}):([0-9]{1,5})/\?(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Token:
    """A token that is well-formed, of which nothing is proven yet."""

    host: str
    """In small letters."""
    port: str
    user: str
    request: Presigned

    @property
    def signed_host(self) -> str:
        """The host header that was signed: without the port if that is https's own."""
        return self.host if self.port == "443" else f"{self.host}:{self.port}"


def parse_token(password: bytes) -> Token:
    """Read what a client sent as its password. Raises TokenError."""
    place = _PLACE.fullmatch(printable(password))
    if place is None:
        raise TokenError("it does not begin with HOST:PORT/? as a token does")
    host, port, text = place.groups()
    request = read_query(text, own=_PARAMETERS, service="rds-db", headers="host")
    if request.query["Action"] != "connect":
        raise TokenError("its Action is not connect")
    return Token(host.lower(), port, request.query["DBUser"], request)
