"""A client's login: greeting, TLS, authentication, and the session it begins with. COM_CHANGE_USER is one too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from rdsproxy.backend.connection import PoolKey
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.pool import TIMED_OUT, BorrowError
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.authentication.plugins import fresh_nonce
from rdsproxy.protocol.authentication.server import ServerAuthentication
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import PacketReader, frame
from rdsproxy.protocol.handshake import ChangeUser, Greeting, HandshakeResponse, SSLRequest
from rdsproxy.protocol.reply import ClientForm
from rdsproxy.protocol.responses import Err, Ok, build_ok
from rdsproxy.relay import errors
from rdsproxy.relay.relay import Relay
from rdsproxy.session.opening import open_session

if TYPE_CHECKING:
    from rdsproxy.frontend.connection import ClientConnection

CAPABILITIES: Final = (
    cap.CLIENT_LONG_PASSWORD
    | cap.CLIENT_FOUND_ROWS
    | cap.CLIENT_LONG_FLAG
    | cap.CLIENT_CONNECT_WITH_DB
    | cap.CLIENT_COMPRESS
    | cap.CLIENT_LOCAL_FILES
    | cap.CLIENT_IGNORE_SPACE
    | cap.CLIENT_PROTOCOL_41
    | cap.CLIENT_INTERACTIVE
    | cap.CLIENT_TRANSACTIONS
    | cap.CLIENT_SECURE_CONNECTION
    | cap.CLIENT_MULTI_STATEMENTS
    | cap.CLIENT_MULTI_RESULTS
    | cap.CLIENT_PS_MULTI_RESULTS
    | cap.CLIENT_PLUGIN_AUTH
    | cap.CLIENT_CONNECT_ATTRS
    | cap.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
    | cap.CLIENT_SESSION_TRACK
    | cap.CLIENT_DEPRECATE_EOF
    | cap.CLIENT_ZSTD_COMPRESSION_ALGORITHM
)
"""What clients are offered; TLS is added where there is a certificate."""

MAX_PACKET: Final = 1 << 16  # bytes; connection attributes have at most 64 KB, an IAM token about 1 KB

TLS_REQUIRED: Final = Err(3159, "HY000", "This RDS Proxy requires TLS connections.")
TOO_SLOW: Final = Err(1159, "08S01", "Got timeout reading communication packets: the login took too long")


class Login:
    """One login under way. It ends in `client.logged_in`, or in an ERR and a closed connection."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        self._door = client.door
        self._reader = PacketReader(MAX_PACKET)
        self._greeting: Greeting | None = None
        self._authentication: ServerAuthentication | None = None
        self._user = b""
        self._database = b""
        self._waiting: Deferred[Any] | None = None
        client.expect(self._too_early)

    def greet_when_known(self) -> None:
        """Send the greeting, which shows the database's version: until that is known, the client waits."""
        pool = self._door.pool
        if pool.facts is not None:
            self._greet()
        else:
            self._client.expect(self._ungreeted)
            self._waiting = pool.when_known()
            self._waiting.addCallbacks(lambda _: self._greet(), lambda failure: failure.trap(CancelledError))

    def change_user(self, payload: bytes) -> None:
        """Take a COM_CHANGE_USER."""
        client = self._client
        self._reader.sequence = 1
        try:
            request = ChangeUser.parse(payload, client.capabilities)
        except ProtocolError as error:
            self._fail(str(error), errors.MALFORMED)
            return
        if request.charset is not None:
            client.charset = request.charset
        # The greeting's nonce has been used: without a greeting the client is asked again, with a fresh one.
        self._authenticate(request.user, request.database, request.auth_plugin, request.auth_response)

    def timed_out(self) -> None:
        """The client has not logged in within `handshake_timeout`."""
        if self._door.pool.facts is None:
            self._fail("the database has not been reached yet", TIMED_OUT)
        else:
            self._fail("handshake timeout", TOO_SLOW)

    def client_lost(self) -> None:
        """The client is gone: wait for nothing any more."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    # -- packets ------------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        self._waiting = None
        door = self._door
        facts = door.pool.facts
        assert facts is not None
        self._greeting = Greeting(
            server_version=facts.version,
            connection_id=self._client.id,
            nonce=fresh_nonce(),
            capabilities=CAPABILITIES | (cap.CLIENT_SSL if door.tls is not None else 0),
            charset=facts.collation,
            status=cap.SERVER_STATUS_AUTOCOMMIT,
            auth_plugin=door.accounts.default_plugin,
        )
        self._client.expect(self._packets)
        self._client.greeted = True
        self._send(self._greeting.build())

    def _ungreeted(self, data: bytes) -> None:
        self._fail("the client spoke before it was greeted", errors.MALFORMED)

    def _packets(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while self._client.expects(self._packets):
                payload = reader.next()
                if payload is None:
                    return
                self._packet(payload)
        except ProtocolError as error:
            self._fail(str(error), errors.MALFORMED)

    def _packet(self, payload: bytes) -> None:
        client = self._client
        if self._authentication is not None:
            self._answer(self._authentication, self._authentication.receive(payload))
        elif SSLRequest.matches(payload) and not client.is_tls:
            SSLRequest.parse(payload)
            if self._door.tls is None:
                raise ProtocolError("the client asks for TLS, which was not offered")
            client.start_tls(self._door.tls, self._reader.take_rest())
            client.secure = True
        else:
            self._response(HandshakeResponse.parse(payload))

    def _response(self, response: HandshakeResponse) -> None:
        client = self._client
        client.capabilities = response.capabilities & (CAPABILITIES | cap.CLIENT_SSL)
        client.charset = response.charset
        client.zstd_level = response.zstd_level
        client.program = response.attributes.get(b"program_name", b"")
        if self._door.require_tls and not client.secure:
            self._fail("without TLS", TLS_REQUIRED)
        else:
            self._authenticate(response.user, response.database, response.auth_plugin, response.auth_response)

    def _authenticate(self, user: bytes, database: bytes | None, plugin: str | None, response: bytes) -> None:
        door = self._door
        self._user = user
        self._database = database or b""
        self._authentication = authentication = ServerAuthentication(
            door.accounts.find(user),
            door.accounts.decoy,
            greeting=self._greeting,
            plugin=plugin,
            response=response,
            secure=self._client.secure,
            keys=door.keys,
        )
        self._client.expect(self._packets)
        self._answer(authentication, authentication.start())

    def _answer(self, authentication: ServerAuthentication, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._send(payload)
        if authentication.verdict is None:
            return
        self._client.expect(self._too_early)
        if authentication.verdict:
            # The client has done its part: how long the database may take is not its fault.
            self._client.stop_timer()
            self._find_states()
        else:
            self._deny(authentication.used_password)

    def _deny(self, used_password: bool) -> None:
        user = self._user.decode("utf-8", "replace")
        account = f"'{user}'@'{self._client.peer}' (using password: {'YES' if used_password else 'NO'})"
        if self._greeting is not None:
            err = Err(1045, "28000", f"Access denied for user {account}")
        else:
            err = Err(1873, "28000", f"Access denied trying to change to user {account}. Disconnecting.")
        self._fail("access denied", err, user=user)

    def _too_early(self, data: bytes) -> None:
        # Bytes behind the last packet of the login: commands of a client that does not wait for OK.
        if self._reader.pending + len(data) > MAX_PACKET:
            self._fail("too many commands before the login was over", errors.MALFORMED)
        else:
            self._reader.feed(data)

    # -- the session --------------------------------------------------------------------------------------------------

    def _find_states(self) -> None:
        """Learn what a session of this user begins with, if this is the user's first."""
        key = PoolKey(self._user.decode(), found_rows=bool(self._client.capabilities & cap.CLIENT_FOUND_ROWS))
        pool = self._door.pool
        if key in pool.states:
            self._enter(key)
            return
        self._waiting = pool.borrow(key, None)

        def lent(connection: Any) -> None:
            self._waiting = None
            pool.give_back(connection)
            self._enter(key)

        self._waiting.addCallbacks(lent, self._not_lent)

    def _not_lent(self, failure: Failure) -> None:
        self._waiting = None
        if isinstance(failure.value, BorrowError):
            self._fail("no database connection", failure.value.err)
        elif not failure.check(CancelledError):
            log_unexpected(self._client.log, failure)
            self._fail("internal error", errors.INTERNAL)

    def _enter(self, key: PoolKey) -> None:
        client, pool = self._client, self._door.pool
        capabilities = client.capabilities
        session = open_session(pool.states[key], self._database, client.charset, capabilities)
        form = ClientForm(
            eof=not capabilities & cap.CLIENT_DEPRECATE_EOF,
            track=bool(capabilities & cap.CLIENT_SESSION_TRACK),
            local_files=bool(capabilities & cap.CLIENT_LOCAL_FILES),
        )
        # The client's from here on, so that it is let go if the client leaves before the schema is entered.
        client.relay = Relay(client, pool, key, form, session)
        client.relay.enter_schema(self._entered)

    def _entered(self, err: Err | None) -> None:
        client = self._client
        if err is not None:
            self._fail("the schema cannot be used", err)
            return
        assert client.relay is not None
        self._send(build_ok(Ok(0, 0, cap.SERVER_STATUS_AUTOCOMMIT, 0)))
        if self._door.debug:
            client.log.debug("client logged in", user=self._user.decode(), changed=self._greeting is None)
        client.logged_in(client.relay, self._reader.take_rest())

    def _fail(self, reason: str, err: Err, **details: str) -> None:
        client = self._client
        client.log.warning("login failed", reason=reason, peer=client.peer, **details)
        client.expect(ignore)
        client.send_error(err, self._reader.sequence)
        client.close()

    def _send(self, payload: bytes) -> None:
        reader = self._reader
        self._client.write(frame(payload, reader.sequence))
        reader.sequence = (reader.sequence + 1) & 0xFF


def ignore(data: bytes) -> None:
    """Take what a client sends that will be closed."""
