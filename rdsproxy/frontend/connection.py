"""One client's connection: greeting, TLS, authentication; then its commands go to the relay one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import structlog
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from rdsproxy.backend.connection import PoolKey
from rdsproxy.frontend.commands import HANDLERS
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.pool import TIMED_OUT, BorrowError
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.authentication.plugins import fresh_nonce
from rdsproxy.protocol.authentication.server import ServerAuthentication
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import HEADER_SIZE, MAX_PAYLOAD, PacketReader, TooBigError, frame, unpack_header
from rdsproxy.protocol.handshake import ChangeUser, Greeting, HandshakeResponse, SSLRequest
from rdsproxy.protocol.reply import ClientForm
from rdsproxy.protocol.responses import Err, Ok, build_eof, build_ok
from rdsproxy.relay import errors
from rdsproxy.relay.relay import Relay
from rdsproxy.session.opening import open_session
from rdsproxy.wire import Wire

if TYPE_CHECKING:
    from rdsproxy.frontend.door import Door

CAPABILITIES: Final = (
    cap.CLIENT_LONG_PASSWORD
    | cap.CLIENT_FOUND_ROWS
    | cap.CLIENT_LONG_FLAG
    | cap.CLIENT_CONNECT_WITH_DB
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
)
"""What clients are offered; TLS is added where there is a certificate."""

MAX_LOGIN_PACKET: Final = 1 << 16  # bytes; an IAM token is about 1 KB, connection attributes at most 64 KB
MAX_WAITING: Final = 1 << 18  # bytes read ahead of a command that is under way

TLS_REQUIRED: Final = Err(3159, "HY000", "This RDS Proxy requires TLS connections.")
TOO_SLOW: Final = Err(1159, "08S01", "Got timeout reading communication packets: the login took too long")
INACTIVE: Final = Err(
    4031, "HY000", "The client was disconnected by the server because of inactivity. See idle_client_timeout"
)
SHUTDOWN: Final = Err(1053, "08S01", "Server shutdown in progress")


class ClientConnection(Wire):
    """A client, from its first byte to its last."""

    def __init__(self, door: Door) -> None:
        super().__init__(door.wires)
        self.door = door
        self.id = door.next_id()
        self._log: Any = None
        self._program = b""
        self.relay: Relay | None = None
        self.secure = False
        """TLS or a Unix socket."""
        self.capabilities = 0
        self.charset = 0
        self._peer = "localhost"
        self._receive = self._wait
        self._reader = PacketReader(MAX_LOGIN_PACKET)
        self._greeting: Greeting | None = None
        self._login: _Login | None = None
        self._buffer = bytearray()
        self._large: PacketReader | None = None
        self._pumping = False
        self._input_held = False
        self._last_used = 0.0
        self._timer: IDelayedCall | None = None
        self._waiting: Deferred[Any] | None = None

    # -- connecting ----------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Greet the client, unless there are too many."""
        super().connectionMade()
        door = self.door
        peer = self.transport.getPeer()
        if isinstance(peer, UNIXAddress):
            self.secure = True
        else:
            self._peer = peer.host
        if len(door.clients) >= door.max_connections:
            self.log.warning("client refused", reason="max_client_connections")
            self._receive = _ignore
            self.send_error(Err(1040, "HY000", f"Number simultaneous connections exceeded ({door.max_connections})"), 0)
            self.close()
            return
        door.clients.add(self)
        self._timer = door.reactor.callLater(door.handshake_timeout, self._login_timed_out)
        if door.pool.facts is not None:
            self._greet()
        else:
            # The greeting shows the database's version: until it is known, the client waits.
            self._waiting = door.pool.when_known()
            self._waiting.addCallbacks(lambda _: self._greet(), lambda failure: failure.trap(CancelledError))

    def _greet(self) -> None:
        self._waiting = None
        door = self.door
        facts = door.pool.facts
        assert facts is not None
        self._greeting = greeting = Greeting(
            server_version=facts.version,
            connection_id=self.id,
            nonce=fresh_nonce(),
            capabilities=CAPABILITIES | (cap.CLIENT_SSL if door.tls is not None else 0),
            charset=facts.collation,
            status=cap.SERVER_STATUS_AUTOCOMMIT,
            auth_plugin=door.accounts.default_plugin,
        )
        self._receive = self._login_data
        self._send_payload(greeting.build())

    def _wait(self, data: bytes) -> None:
        self._receive = _ignore
        self._fail_login("the client spoke before it was greeted", errors.MALFORMED)

    def _login_data(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while self._receive == self._login_data:
                payload = self._reader.next()
                if payload is None:
                    return
                self._login_packet(payload)
        except ProtocolError as error:
            self._fail_login(str(error), errors.MALFORMED)

    def _login_packet(self, payload: bytes) -> None:
        login = self._login
        if login is not None:
            self._answer(login.authentication.receive(payload), login)
        elif SSLRequest.matches(payload) and not self.transport_is_tls:
            SSLRequest.parse(payload)
            if self.door.tls is None:
                raise ProtocolError("the client asks for TLS, which was not offered")
            self.start_tls(self.door.tls, self._reader.take_rest())
            self.secure = True
        else:
            self._handshake_response(HandshakeResponse.parse(payload))

    def _handshake_response(self, response: HandshakeResponse) -> None:
        self.capabilities = response.capabilities & (CAPABILITIES | cap.CLIENT_SSL)
        self.charset = response.charset
        if self.door.require_tls and not self.secure:
            self._fail_login("without TLS", TLS_REQUIRED)
            return
        self._program = response.attributes.get(b"program_name", b"")
        self._authenticate(
            response.user, response.database, response.auth_plugin, response.auth_response, self._greeting
        )

    def _authenticate(
        self, user: bytes, database: bytes | None, plugin: str | None, response: bytes, greeting: Greeting | None
    ) -> None:
        door = self.door
        authentication = ServerAuthentication(
            door.accounts.find(user),
            door.accounts.decoy,
            greeting=greeting,
            plugin=plugin,
            response=response,
            secure=self.secure,
            keys=door.keys,
        )
        self._login = login = _Login(user, database or b"", authentication, change=greeting is None)
        self._answer(authentication.start(), login)

    def _answer(self, payloads: list[bytes], login: _Login) -> None:
        for payload in payloads:
            self._send_payload(payload)
        verdict = login.authentication.verdict
        if verdict is None:
            return
        self._receive = self._too_early
        if not verdict:
            password = "YES" if login.authentication.used_password else "NO"
            user = login.user.decode("utf-8", "replace")
            if login.change:
                err = Err(1873, "28000", f"Access denied trying to change to user '{user}'@'{self._peer}' "
                          f"(using password: {password}). Disconnecting.")
            else:
                err = Err(1045, "28000", f"Access denied for user '{user}'@'{self._peer}' (using password: {password})")
            self._fail_login("access denied", err, user=user)
            return
        self._find_states(login)

    def _find_states(self, login: _Login) -> None:
        """Learn what a session of this user begins with, if this is the user's first."""
        found_rows = bool(self.capabilities & cap.CLIENT_FOUND_ROWS)
        key = PoolKey(login.user.decode(), found_rows)
        pool = self.door.pool
        if key in pool.states:
            self._enter(login, key)
            return
        self._waiting = pool.borrow(key, None)

        def lent(connection: Any) -> None:
            self._waiting = None
            pool.give_back(connection)
            self._enter(login, key)

        self._waiting.addCallbacks(lent, self._not_lent)

    def _not_lent(self, failure: Failure) -> None:
        self._waiting = None
        if isinstance(failure.value, BorrowError):
            self._fail_login("no database connection", failure.value.err)
        elif not failure.check(CancelledError):
            log_unexpected(self.log, failure)
            self._fail_login("internal error", errors.INTERNAL)

    def _enter(self, login: _Login, key: PoolKey) -> None:
        pool = self.door.pool
        session = open_session(pool.states[key], login.database, self.charset, self.capabilities)
        form = ClientForm(
            eof=not self.capabilities & cap.CLIENT_DEPRECATE_EOF,
            track=bool(self.capabilities & cap.CLIENT_SESSION_TRACK),
            local_files=bool(self.capabilities & cap.CLIENT_LOCAL_FILES),
        )
        self.relay = Relay(self, pool, key, form, session)
        self.relay.enter_schema(self._entered)

    def _entered(self, err: Err | None) -> None:
        login, self._login = self._login, None
        assert login is not None
        if err is not None:
            self._fail_login("the schema cannot be used", err)
            return
        self._send_payload(build_ok(Ok(0, 0, cap.SERVER_STATUS_AUTOCOMMIT, 0)))
        self._receive = self._commands
        self.join_hub(after=4)
        self._last_used = self.door.reactor.seconds()
        self._rearm(self.door.idle_timeout, self._check_idle)
        if self.door.debug:
            self.log.debug("client changed user" if login.change else "client logged in", user=login.user.decode())
        rest = self._reader.take_rest()
        if rest:
            self._commands(rest)

    def _too_early(self, data: bytes) -> None:
        # Bytes behind the last packet of the login: commands of a client that does not wait for OK.
        if self._reader.pending + len(data) > MAX_LOGIN_PACKET:
            self._fail_login("commands before the login was over", errors.MALFORMED)
            return
        self._reader.feed(data)

    def _login_timed_out(self) -> None:
        self._timer = None
        if self.door.pool.facts is None:
            self._fail_login("the database has not been reached yet", TIMED_OUT)
        else:
            self._fail_login("handshake timeout", TOO_SLOW)

    def _fail_login(self, reason: str, err: Err, **details: str) -> None:
        self.log.warning("login failed", reason=reason, peer=self._peer, **details)
        self._receive = _ignore
        self.send_error(err, self._reader.sequence)
        self.close()

    @property
    def log(self) -> Any:
        """The client's logger; made when there is something to log, which for most clients is never."""
        if self._log is None:
            self._log = structlog.get_logger("rdsproxy.client").bind(client=self.id)
            if self._program:
                self._log = self._log.bind(program=self._program.decode("utf-8", "replace"))
        return self._log

    @property
    def transport_is_tls(self) -> bool:
        """TLS has been started."""
        return bool(getattr(self.transport, "TLS", False))

    # -- commands ------------------------------------------------------------------------------------------------------

    def _commands(self, data: bytes) -> None:
        relay = self.relay
        assert relay is not None
        size = len(data)
        # The common case: one whole packet, numbered 0, and nothing before it.
        if (
            size > HEADER_SIZE
            and not self._buffer
            and not relay.busy
            and unpack_header(data)[0] == size - HEADER_SIZE < MAX_PAYLOAD
        ):
            if data[HEADER_SIZE] == commands.QUERY:
                relay.run(data, 0, relay.session.state.lexer.traits(data[5:]))
            else:
                self._dispatch(data, data[HEADER_SIZE:])
            return
        self._buffer += data
        self._pump()

    def _pump(self) -> None:
        """Run the commands that are whole, as long as none is under way."""
        relay = self.relay
        if self._pumping or relay is None:
            return
        self._pumping = True
        try:
            while not relay.busy and self._receive == self._commands and self._next_command():
                pass
        except TooBigError:
            self._refuse(Err(1153, "08S01", "Got a packet bigger than 'max_allowed_packet' bytes"))
        except ProtocolError as error:
            self._refuse(errors.OUT_OF_ORDER, str(error))
        finally:
            self._pumping = False
        if self._receive == self._in_upload and self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._in_upload(data)
        self._hold(relay.busy and len(self._buffer) > MAX_WAITING)

    def _next_command(self) -> bool:
        buffer = self._buffer
        if self._large is not None:
            return self._next_large()
        if len(buffer) < HEADER_SIZE:
            return False
        word: int = unpack_header(buffer)[0]
        length = word & MAX_PAYLOAD
        if word >> 24:
            raise ProtocolError(f"a command with sequence id {word >> 24}, not 0")
        if not length:
            raise ProtocolError("an empty command")
        facts = self.door.pool.facts
        assert facts is not None
        if length > facts.max_allowed_packet:
            raise TooBigError("above max_allowed_packet")
        if length == MAX_PAYLOAD:
            self._large = PacketReader(facts.max_allowed_packet)
            return True
        end = HEADER_SIZE + length
        if len(buffer) < end:
            return False
        packet = bytes(buffer[:end])
        del buffer[:end]
        self._dispatch(packet, packet[HEADER_SIZE:])
        return True

    def _next_large(self) -> bool:
        reader = self._large
        assert reader is not None
        reader.feed(bytes(self._buffer))
        self._buffer.clear()
        payload = reader.next()
        if payload is None:
            return False
        self._large = None
        self._buffer += reader.take_rest()
        self._dispatch(frame(payload), payload)
        return True

    def _dispatch(self, packets: bytes, payload: bytes) -> None:
        relay = self.relay
        assert relay is not None
        handler = HANDLERS.get(payload[0])
        if handler is None:
            self.send_error(errors.UNKNOWN_COMMAND)
            self.ready()
        else:
            handler(self, relay, packets, payload)

    def _refuse(self, err: Err, reason: str = "") -> None:
        """End the connection: what follows cannot be understood."""
        self.log.warning("client sent a broken packet", reason=reason or err.message)
        self.send_error(err)
        self.fail(reason or err.message)

    def change_user(self, payload: bytes) -> None:
        """Begin a new session, for another user or the same."""
        relay, self.relay = self.relay, None
        assert relay is not None
        self._reader = PacketReader(MAX_LOGIN_PACKET)
        self._reader.sequence = 1
        rest, self._buffer = bytes(self._buffer), bytearray()
        relay.client_lost()
        try:
            request = ChangeUser.parse(payload, self.capabilities)
        except ProtocolError as error:
            self._fail_login(str(error), errors.MALFORMED)
            return
        if request.charset is not None:
            self.charset = request.charset
        self._receive = self._login_data
        self._rearm(self.door.handshake_timeout, self._login_timed_out)
        # The greeting's nonce has been used: the client is asked again, with a fresh one.
        self._authenticate(request.user, request.database, request.auth_plugin, request.auth_response, None)
        if rest:
            self.dataReceived(rest)

    # -- for the relay -------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """The command is done: take the next one."""
        self._last_used = self.door.reactor.seconds()
        if self._buffer:
            self._pump()

    def send_error(self, err: Err, sequence: int = 1) -> None:
        """Send an ERR packet."""
        self.write(frame(err.build(), sequence))

    def send_ok(self, eof: bool = False) -> None:
        """Send the proxy's own OK, or the EOF that some commands are answered by."""
        relay = self.relay
        assert relay is not None
        status = relay.session.status
        if eof and relay.form.eof:
            self.write(frame(build_eof(0, status), 1))
        else:
            self.write(frame(build_ok(Ok(0, 0, status, 0), header=0xFE if eof else 0x00), 1))

    def begin_upload(self) -> None:
        """What comes next is a file, not a command."""
        self._receive = self._in_upload
        if self._buffer and not self._pumping:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._in_upload(data)

    def _in_upload(self, data: bytes) -> None:
        relay = self.relay
        assert relay is not None
        rest = relay.upload(data)
        if rest is not None:
            self._receive = self._commands
            self._buffer += rest
            self._pump()

    def hold_input(self) -> None:
        """Stop reading from the client."""
        self._hold(True)

    def resume_input(self) -> None:
        """Read again."""
        self._hold(False)

    def _hold(self, held: bool) -> None:
        if held != self._input_held and not self.lost:
            self._input_held = held
            if held:
                self.stop_reading()
            else:
                self.read_again()

    def fail(self, why: str) -> None:
        """Close: the client can make no sense of what would follow."""
        self.log.warning("client disconnected", reason=why)
        self._receive = _ignore
        self.close()

    # -- the end -------------------------------------------------------------------------------------------------------

    def _rearm(self, delay: float, call: Callable[[], None]) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self.door.reactor.callLater(delay, call)

    def _check_idle(self) -> None:
        """Looks once in a while instead of moving a timer at each command."""
        self._timer = None
        door = self.door
        unused = door.reactor.seconds() - self._last_used
        if self.relay is not None and self.relay.busy:
            unused = 0.0
        if unused < door.idle_timeout:
            self._timer = door.reactor.callLater(door.idle_timeout - unused, self._check_idle)
            return
        self.log.info("client disconnected", reason="idle_client_timeout")
        self._receive = _ignore
        self.send_error(INACTIVE, 0)
        self.close()

    def shut_down(self) -> None:
        """The proxy stops."""
        self._receive = _ignore
        if self.relay is not None and self.relay.busy:
            self.abort()
        else:
            self.send_error(SHUTDOWN, 0)
            self.close()

    def pauseProducing(self) -> None:
        """The client reads slowly."""
        if self.relay is not None:
            self.relay.client_slow()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        if self.relay is not None:
            self.relay.client_caught_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave nothing of the client behind."""
        super().connectionLost(reason)
        self._receive = _ignore
        self.door.clients.discard(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        relay, self.relay = self.relay, None
        if relay is not None:
            relay.client_lost()

    def _send_payload(self, payload: bytes) -> None:
        reader = self._reader
        self.write(frame(payload, reader.sequence))
        reader.sequence = (reader.sequence + 1) & 0xFF


class _Login:
    """A login under way."""

    __slots__ = ("authentication", "change", "database", "user")

    def __init__(self, user: bytes, database: bytes, authentication: ServerAuthentication, change: bool) -> None:
        self.user = user
        self.database = database
        self.authentication = authentication
        self.change = change


def _ignore(data: bytes) -> None:
    pass
