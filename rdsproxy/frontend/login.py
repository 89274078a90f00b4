"""A client's login: greeting, TLS, proof, and the session it begins with. COM_CHANGE_USER is one too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from rdsproxy.backend.connection import DatabaseConnection, PoolKey
from rdsproxy.frontend.proof import NOT_YET, OF_AUTHENTICATION, TLS_REQUIRED, Proof
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.pool.pool import TIMED_OUT
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.authentication.plugins import fresh_nonce
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import PacketReader, frame
from rdsproxy.protocol.handshake import ChangeUser, Greeting, HandshakeResponse, SSLRequest
from rdsproxy.protocol.reply import ClientForm
from rdsproxy.protocol.responses import Err, Ok, build_ok, schema_change
from rdsproxy.relay import errors
from rdsproxy.relay.entering import enter_schema
from rdsproxy.relay.relay import Relay
from rdsproxy.session.opening import open_session
from rdsproxy.tls import subject_of

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
"""What clients are offered, with what of `cap.fitted` the database has; TLS is added where there is a certificate."""

MAX_PACKET: Final = 1 << 16  # bytes; connection attributes have at most 64 KB, an IAM token about 1 KB

TOO_SLOW: Final = Err(1159, "08S01", "Got timeout reading communication packets: the login took too long")


_TO_BLAME: Final = frozenset((1045, errors.MALFORMED.code, TOO_SLOW.code))
"""Codes of the errors that are the client's own fault; the database's, or lack of a secret, are not."""


class Login:
    """One login under way. It ends in `client.logged_in`, or in an ERR and a closed connection."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        self._door = client.door
        self._reader = PacketReader(MAX_PACKET)
        self._greeting: Greeting | None = None
        self._proof: Proof | None = None
        self._user = b""
        self._database = b""
        self._found_rows: int | None = None
        """What FOUND_ROWS() gave before a COM_CHANGE_USER: servers keep it."""
        self._waiting: Deferred[Any] | None = None
        self._failed = False
        """It has been said, and why."""
        self._first = not client.greeted
        """Not a COM_CHANGE_USER."""
        client.expect(self._too_early)

    def greet_when_known(self) -> None:
        """Send the greeting, which shows the database's version: until that is known, the client waits."""
        known = self._door.known
        if known.facts is not None:
            self._greet()
        else:
            self._client.expect(self._ungreeted)
            self._waiting = known.when_known()
            self._waiting.addCallbacks(lambda _: self._greet(), lambda failure: failure.trap(CancelledError))

    def change_user(self, payload: bytes, found_rows: int | None) -> None:
        """Take a COM_CHANGE_USER. `found_rows`: what FOUND_ROWS() gives, if that is known."""
        client = self._client
        self._found_rows = found_rows
        self._reader.sequence = 1
        try:
            request = ChangeUser.parse(payload, client.capabilities)
        except ProtocolError as error:
            self.fail(str(error), errors.MALFORMED)
            return
        if request.charset is not None:
            client.charset = request.charset
        # The greeting's nonce has been used: without a greeting the client is asked again, with a fresh one.
        self._authenticate(request.user, request.database, request.auth_plugin, request.auth_response)

    def timed_out(self) -> None:
        """The client has not logged in within `handshake_timeout`."""
        if self._door.known.facts is None:
            credentials = self._door.accounts.credentials
            err = TIMED_OUT if credentials.complete or credentials.usernames() else NOT_YET
            self.fail("the database has not been reached yet", err)
        else:
            self.fail("handshake timeout", TOO_SLOW)

    @property
    def sequence(self) -> int:
        """The number of the next packet to the client."""
        return self._reader.sequence

    def client_lost(self, problem: str | None = None) -> None:
        """The client is gone, for no good (`problem`) if that is worth a line: wait for nothing any more."""
        if problem is not None and not self._failed:
            self._client.log.warning("login failed", reason=problem, peer=self._client.peer)
            if self._first:
                self._door.setups_failed_other += 1
                self._door.failed(self._client.peer)
        if self._proof is not None:
            self._proof.cancel()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    # -- what its proof needs -----------------------------------------------------------------------------------------

    def send(self, payload: bytes) -> None:
        """Send the client the next packet."""
        reader = self._reader
        self._client.write(frame(payload, reader.sequence))
        reader.sequence = (reader.sequence + 1) & 0xFF

    def hear_no_more(self) -> None:
        """The client has said all that a login needs: what comes now are commands."""
        self._client.expect(self._too_early)

    def proven(self) -> None:
        """The client is who it says."""
        self._door.strangers.pop(self._client, None)
        self._door.let_in(self._client.peer)
        # It has done its part: how long the database may take is not its fault.
        self._client.stop_timer()
        self._find_states()

    def fail(self, reason: str, err: Err, **details: str) -> None:
        """Let the client go with `err`. `reason` and `details` are for the log."""
        client = self._client
        self._failed = True
        client.log.warning("login failed", reason=reason, peer=client.peer, **details)
        if self._first and not client.lost:
            if err.code in OF_AUTHENTICATION:
                self._door.setups_failed_auth += 1
            else:
                self._door.setups_failed_other += 1
            if err.code in _TO_BLAME:
                self._door.failed(client.peer)
        client.expect(ignore)
        client.send_error(err, self._reader.sequence)
        client.close()

    # -- packets ------------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        self._waiting = None
        door = self._door
        facts = door.known.facts
        assert facts is not None
        self._greeting = Greeting(
            server_version=facts.version,
            connection_id=self._client.id,
            nonce=fresh_nonce(),
            capabilities=cap.fitted(CAPABILITIES, facts.capabilities) | (cap.CLIENT_SSL if door.tls is not None else 0),
            charset=facts.collation,
            status=cap.SERVER_STATUS_AUTOCOMMIT,
            auth_plugin=door.accounts.default_plugin,
        )
        self._client.expect(self._packets)
        self._client.greeted = True
        self.send(self._greeting.build())

    def _ungreeted(self, data: bytes) -> None:
        self.fail("the client spoke before it was greeted", errors.MALFORMED)

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
            self.fail(str(error), errors.MALFORMED)

    def _packet(self, payload: bytes) -> None:
        client = self._client
        if self._proof is not None:
            self._proof.receive(payload)
        elif (err := client.refusal()) is not None:
            # Only now, behind a balancer, whose header came with this packet. Still before TLS and all that costs.
            client.turn_away(err, self._reader.sequence)
        elif SSLRequest.matches(payload) and not client.is_tls:
            SSLRequest.parse(payload)
            if self._door.tls is None:
                raise ProtocolError("the client asks for TLS, which was not offered")
            client.start_tls(self._door.tls, self._reader.take_rest())
            client.secure = True
        else:
            self._response(HandshakeResponse.parse(payload))

    def _response(self, response: HandshakeResponse) -> None:
        client, greeting = self._client, self._greeting
        assert greeting is not None
        client.capabilities = response.capabilities & greeting.capabilities
        client.charset = response.charset
        client.zstd_level = response.zstd_level
        client.program = response.attributes.get(b"program_name", b"")
        # A balancer on a Unix socket brings clients that are elsewhere: by now its header has said so.
        client.secure = client.secure and (client.is_tls or client.is_local)
        client.subject = subject_of(client.transport.getPeerCertificate()) if client.is_tls else None
        if self._door.require_tls and not client.secure:
            self.fail("without TLS", TLS_REQUIRED)
        else:
            self._authenticate(response.user, response.database, response.auth_plugin, response.auth_response)

    def _authenticate(self, user: bytes, database: bytes | None, plugin: str | None, response: bytes) -> None:
        self._user = user
        self._database = database or b""
        self._client.expect(self._packets)
        self._proof = Proof(self, self._client, user, self._greeting)
        self._proof.begin(plugin, response)

    def _too_early(self, data: bytes) -> None:
        # Bytes behind the last packet of the login: commands of a client that does not wait for OK.
        if self._reader.pending + len(data) > MAX_PACKET:
            self.fail("too many commands before the login was over", errors.MALFORMED)
        else:
            self._reader.feed(data)

    # -- the session --------------------------------------------------------------------------------------------------

    def _find_states(self) -> None:
        """Learn what a session of this user begins with, if this is the user's first."""
        key = PoolKey(self._user.decode(), found_rows=bool(self._client.capabilities & cap.CLIENT_FOUND_ROWS))
        if key in self._door.known.states:
            self._enter(key)
            return
        self._waiting = self._client.route.borrow(key, None)

        def lent(connection: DatabaseConnection) -> None:
            self._waiting = None
            connection.pool.give_back(connection)
            self._enter(key)

        self._waiting.addCallbacks(lent, self._not_lent)

    def _not_lent(self, failure: Failure) -> None:
        self._waiting = None
        if isinstance(failure.value, BorrowError):
            self.fail("no database connection", failure.value.err)
        elif not failure.check(CancelledError):
            log_unexpected(self._client.log, failure)
            self.fail("internal error", errors.INTERNAL)

    def _enter(self, key: PoolKey) -> None:
        client = self._client
        capabilities = client.capabilities
        session = open_session(self._door.known.states[key], self._database, client.charset, capabilities)
        if self._found_rows is not None:
            session.diagnostics.found_rows = self._found_rows
        form = ClientForm(
            eof=not capabilities & cap.CLIENT_DEPRECATE_EOF,
            track=bool(capabilities & cap.CLIENT_SESSION_TRACK),
            local_files=bool(capabilities & cap.CLIENT_LOCAL_FILES),
            telling=session.tracking.telling,
        )
        # The client's from here on, so that it is let go if the client leaves before the schema is entered.
        client.relay = Relay(client, client.route, key, form, session)
        enter_schema(client.relay, self._entered)

    def _entered(self, err: Err | None) -> None:
        client = self._client
        if err is not None:
            self.fail("the schema cannot be used", err)
            return
        assert client.relay is not None
        if self._first:
            self._door.setups_succeeded += 1
        ok = Ok(0, 0, cap.SERVER_STATUS_AUTOCOMMIT, 0)
        telling = client.relay.form.telling
        if telling is not None and self._database:
            ok = ok.with_changes(telling.tell(schema_change(self._database)))
        self.send(build_ok(ok))
        if self._door.debug:
            client.log.debug("client logged in", user=self._user.decode(), changed=self._greeting is None)
        client.logged_in(client.relay, self._reader.take_rest())


def ignore(data: bytes) -> None:
    """Take what a client sends that will be closed."""
