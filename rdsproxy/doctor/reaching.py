"""Whether a target answers, with what, and what to do about a connection or a login that fails."""

from __future__ import annotations

import re
from typing import Final

from twisted.internet.error import (
    ConnectionRefusedError,
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.internet.error import TimeoutError as ConnectTimeoutError

from rdsproxy.backend.connection import ConnectionLostError
from rdsproxy.backend.connector import Connector
from rdsproxy.backend.login import LoginError
from rdsproxy.doctor.finding import Finding, fail, ok, warn
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError, ServerRefusedError
from rdsproxy.protocol.handshake import Greeting
from rdsproxy.topology.probe import FAILURES
from rdsproxy.topology.target import Place

_OLDEST: Final = {True: (10, 5), False: (5, 7)}
"""By whether it is MariaDB: the oldest version that is supported."""

_BY_CODE: Final = {
    1040: "it has no connection left: raise its max_connections, or lower that of who else is connected",
    1044: "grant this user something in the schema",
    1045: "correct the password in the secret, or create the user there: rdsproxy grants prints how",
    1129: "run FLUSH HOSTS there, or raise max_connect_errors",
    1130: "create the user for the proxy's address, or for '%': rdsproxy grants prints how",
    1203: "raise max_user_connections there",
    1226: "raise the user's MAX_USER_CONNECTIONS there",
    1698: "create the user with a password: rdsproxy grants prints how",
    1862: "its password has expired: ALTER USER there, and change the secret",
    3118: "the account is locked: ALTER USER ... ACCOUNT UNLOCK",
    3159: "the server wants TLS: set mode = \"VERIFY_IDENTITY\" in [target_group.tls]",
}
_CHECK_TARGET: Final = "is it up, are host and port right, and does its firewall (security group) let this machine in?"


async def check_reached(subject: str, place: Place, connector: Connector) -> tuple[Finding, Greeting | None]:
    """Connect and read the greeting."""
    try:
        greeting = await connector.greeting()
    except FAILURES as error:
        return fail(subject, reason_of(error), remedy_of(error)), None
    version = greeting.server_version.removeprefix("5.5.5-")
    is_mariadb = "MariaDB" in version
    number = re.match(r"(\d+)\.(\d+)", version)
    if number is None or (int(number[1]), int(number[2])) < _OLDEST[is_mariadb]:
        remedy = "MySQL 5.7, MariaDB 10.5 or newer is what the proxy is made for"
        return warn(subject, f"it is {version}", remedy), greeting
    return ok(subject, f"it answers, as {'' if is_mariadb else 'MySQL '}{version}"), greeting


def reason_of(error: BaseException) -> str:
    """Say in one line why a connection failed."""
    if isinstance(error, DNSLookupError):
        return "its name has no address"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nobody listens there"
    if isinstance(error, ConnectTimeoutError | TCPTimedOutError):
        return "no answer to TCP in time"
    return " ".join(str(error).split()) or type(error).__name__


def is_denial(error: BaseException) -> bool:
    """Tell whether the server refuses the user, or what the user has shown."""
    return isinstance(error, LoginError) and error.is_denial


def remedy_of(error: BaseException) -> str:
    """Say what to do about it."""
    code = error.code if isinstance(error, ServerRefusedError) else None
    if isinstance(error, LoginError) and error.err is not None:
        code = error.err.code
    if code is not None:
        return _BY_CODE.get(code, "see the manual of the server for this error")
    if isinstance(error, AuthenticationError):
        return "let the user have a plugin that the proxy knows, or TLS: rdsproxy grants prints how"
    if isinstance(error, LoginError):
        return "see docs/iam.md" if "IAM token" in str(error) else "see [target_group.tls] and the server's version"
    if isinstance(error, ProtocolError | ConnectionLostError):
        return "is it a MySQL or MariaDB server that listens there? If so, its log may say more"
    return _CHECK_TARGET
