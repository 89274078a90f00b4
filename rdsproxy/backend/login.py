"""Log in to a database: greeting, TLS, authentication, and what each connection is set to before its first loan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.authentication.client import ClientAuthentication
from rdsproxy.protocol.authentication.plugins import CLEAR
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.handshake import ChangeUser, Greeting, HandshakeResponse, SSLRequest
from rdsproxy.protocol.responses import Err, parse_err
from rdsproxy.protocol.results import Result
from rdsproxy.protocol.telling import EVERYTHING
from rdsproxy.session.tracking import put_in_force

UTF8MB4_GENERAL_CI: Final = 45
"""The one collation of every login: all servers since 5.5 have it."""

CAPABILITIES: Final = (
    cap.CLIENT_LONG_PASSWORD
    | cap.CLIENT_LONG_FLAG
    | cap.CLIENT_LOCAL_FILES
    | cap.CLIENT_PROTOCOL_41
    | cap.CLIENT_TRANSACTIONS
    | cap.CLIENT_SECURE_CONNECTION
    | cap.CLIENT_MULTI_STATEMENTS
    | cap.CLIENT_MULTI_RESULTS
    | cap.CLIENT_PS_MULTI_RESULTS
    | cap.CLIENT_PLUGIN_AUTH
    | cap.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
    | cap.CLIENT_SESSION_TRACK
    | cap.CLIENT_DEPRECATE_EOF
)
"""Every connection to a server has one shape: this, and what of `cap.fitted` the server has. Only CLIENT_FOUND_ROWS is
added for clients that asked for it."""

_REQUIRED: Final = cap.CLIENT_SESSION_TRACK | cap.CLIENT_DEPRECATE_EOF | cap.CLIENT_PLUGIN_AUTH
_MAX_PACKET: Final = 1 << 30
_NAMES: Final = b"NAMES utf8mb4 COLLATE utf8mb4_general_ci"

_DENIALS: Final = frozenset((1044, 1045, 1698, 1862, 3118))
"""ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_ACCESS_DENIED_NO_PASSWORD, ER_MUST_CHANGE_PASSWORD_LOGIN and
ER_ACCOUNT_HAS_BEEN_LOCKED."""

NO_SECRET: Final = Err(1045, "28000", "Access denied: the proxy has no secret of this user that can be used")


class LoginError(Exception):
    """The database, or what stands between, does not let the proxy in. Carries the server's error where it gave one."""

    def __init__(self, why: str, err: Err | None = None) -> None:
        super().__init__(why)
        self.err = err

    @property
    def is_denial(self) -> bool:
        """The server does not let this user in, by this password or at all."""
        return self.err is not None and self.err.code in _DENIALS


@dataclass(frozen=True, slots=True)
class TLSPolicy:
    """How to speak TLS to one target."""

    creator: IOpenSSLClientConnectionCreator | None
    """None: never."""
    required: bool
    """Do without a server that does not offer it."""


async def log_in(
    connection: DatabaseConnection, username: str, password: str, tls: TLSPolicy, *, shown: bool = False
) -> Greeting:
    """Go from the greeting to the first OK. With `shown` an OK counts only once the server has seen the password.

    Raises LoginError, AuthenticationError, ProtocolError and ConnectionLostError.
    """
    greeting = Greeting.parse(await connection.packet())
    if greeting.capabilities & _REQUIRED != _REQUIRED:
        raise LoginError(
            f"the server ({greeting.server_version}) does not offer session tracking: "
            "MySQL 5.7.5, MariaDB 10.2 or newer is needed"
        )
    capabilities = cap.fitted(CAPABILITIES, greeting.capabilities)
    if connection.key.found_rows:
        capabilities |= cap.CLIENT_FOUND_ROWS
    secure = False
    if greeting.capabilities & cap.CLIENT_SSL and tls.creator is not None:
        request = SSLRequest(capabilities, _MAX_PACKET, UTF8MB4_GENERAL_CI)
        connection.send_packet(request.build())
        connection.start_tls(tls.creator)
        capabilities |= cap.CLIENT_SSL
        secure = connection.secure = True
    elif tls.required:
        raise LoginError("the server does not offer TLS, which [target_group.tls] requires")
    authentication = ClientAuthentication(password, secure)
    answer = authentication.first_response(greeting.auth_plugin, greeting.nonce)
    response = HandshakeResponse(
        capabilities=capabilities,
        max_packet_size=_MAX_PACKET,
        charset=UTF8MB4_GENERAL_CI,
        user=username.encode(),
        auth_response=answer,
        auth_plugin=authentication.plugin,
    )
    connection.send_packet(response.build())
    await _authenticate(connection, authentication)
    if shown and authentication.plugin != CLEAR:
        raise LoginError(f"the server lets this user in by {authentication.plugin}, and not by what {CLEAR} shows")
    connection.thread_id = greeting.connection_id
    connection.has_attributes = bool(capabilities & cap.CLIENT_QUERY_ATTRIBUTES)
    connection.logged_in()
    return greeting


async def log_in_again(connection: DatabaseConnection, username: str, password: str, secure: bool) -> None:
    """Send COM_CHANGE_USER to the same user: everything the session had is gone, its schema too.

    Raises as `log_in` does; the connection is then of no use.
    """
    connection.log_in_again()
    # No scramble of this is looked at: the server asks again with a fresh nonce.
    authentication = ClientAuthentication(password, secure)
    plugin = "mysql_native_password"
    request = ChangeUser(
        user=username.encode(),
        auth_response=b"",
        charset=UTF8MB4_GENERAL_CI,
        auth_plugin=plugin,
    )
    connection.send_packet(request.build(CAPABILITIES))
    await _authenticate(connection, authentication)
    connection.logged_in()


async def _authenticate(connection: DatabaseConnection, authentication: ClientAuthentication) -> None:
    while True:
        payload = await connection.packet()
        if not payload:
            raise ProtocolError("empty packet during authentication")
        if payload[0] == 0x00:
            return
        if payload[0] == 0xFF:
            err = parse_err(payload)
            raise LoginError(f"the server refused the login: {err.code} ({err.sqlstate}) {err.message}", err)
        answer = authentication.receive(payload)
        if answer is not None:
            connection.send_packet(answer)


def setup_packets(tracked: bytes, init_query: str) -> list[bytes]:
    """Give the commands that make a fresh connection, or one that was reset, what every loan begins with.

    The last one makes the trackers tell the proxy all; `tracked` is its value for session_track_system_variables.
    """
    settings = EVERYTHING._replace(system_variables=tracked)
    if not init_query:
        return [put_in_force(settings, _NAMES)]
    return [commands.query(b"SET " + _NAMES), commands.query(init_query.encode()), put_in_force(settings)]


def first_error(results: list[Result]) -> Err | None:
    """Give the first error among the results."""
    return next((result.err for result in results if result.err is not None), None)


def ask(connection: DatabaseConnection, packets: list[bytes]) -> Deferred[list[Result]]:
    """Ask, and fail with LoginError if the server answers one of the commands by an error."""
    return ensureDeferred(_ask(connection, packets))


async def _ask(connection: DatabaseConnection, packets: list[bytes]) -> list[Result]:
    results = await connection.ask(packets)
    err = first_error(results)
    if err is not None:
        raise LoginError(f"a command that sets up the connection failed: {err.code} ({err.sqlstate})", err)
    return results
