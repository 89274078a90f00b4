"""One client's connection: its login, then its commands, which go to the relay one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import structlog
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from rdsproxy.frontend.commands import HANDLERS, HANDLERS_WITH_ATTRIBUTES
from rdsproxy.frontend.compressing import Compressing
from rdsproxy.frontend.login import Login, ignore
from rdsproxy.pool.route import Route
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.compression import Frames, Zlib, Zstd
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    PacketReader,
    TooBigError,
    frame,
    sequence_after,
    unpack_header,
)
from rdsproxy.protocol.responses import Err, Ok, build_eof, build_ok
from rdsproxy.protocol.walk import LASTING, command_of
from rdsproxy.relay import errors
from rdsproxy.relay.relay import Relay
from rdsproxy.relay.uploading import upload
from rdsproxy.tls import handshake_problem
from rdsproxy.wire import Wire

if TYPE_CHECKING:
    from rdsproxy.frontend.door import Door

_COMPRESSION: Final = cap.CLIENT_COMPRESS | cap.CLIENT_ZSTD_COMPRESSION_ALGORITHM
MAX_WAITING: Final = 1 << 18  # bytes read ahead of a command that is under way

INACTIVE: Final = Err(
    4031, "HY000", "The client was disconnected by the server because of inactivity. See idle_client_timeout"
)
SHUTDOWN: Final = Err(1053, "08S01", "Server shutdown in progress")


class ClientConnection(Wire):
    """A client, from its first byte to its last."""

    __slots__ = (
        "_buffer",
        "_compressing",
        "_counted",
        "_handlers",
        "_input_held",
        "_large",
        "_last_used",
        "_log",
        "_login",
        "_plain_query",
        "_pumping",
        "_seconds",
        "_slow",
        "_timer",
        "_unopened",
        "_upload_held",
        "capabilities",
        "charset",
        "door",
        "greeted",
        "id",
        "program",
        "queries",
        "relay",
        "route",
        "secure",
        "subject",
        "zstd_level",
    )

    def __init__(self, door: Door, route: Route, *, behind_balancer: bool) -> None:
        super().__init__(door.wires)
        self.door = door
        self.route = route
        """Where its database connections come from."""
        self.id = door.next_id()
        self.program = b""
        """What the client calls itself in its connection attributes."""
        self.relay: Relay | None = None
        self.secure = False
        """TLS or a Unix socket."""
        self.subject: str | None = None
        """Of its certificate, verified."""
        self._counted = not behind_balancer
        """For its address."""
        self.greeted = False
        self.queries = 0
        """COM_QUERY and COM_STMT_EXECUTE of this client so far."""
        self.capabilities = 0
        self.charset = 0
        self.zstd_level = 0
        """As in its handshake; 0: not told."""
        self._unopened = 0
        """Bytes read from a client that compresses, and still compressed."""
        self.receive = ignore
        self._login: Login | None = None
        self._compressing: Compressing | None = None
        self._log: Any = None
        self._handlers = HANDLERS
        self._plain_query = commands.QUERY
        """The command that is a COM_QUERY and needs no handler; none, if it has attributes."""
        self._buffer = bytearray()
        self._large: PacketReader | None = None
        self._pumping = False
        self._slow = False
        """The client does not read what it is sent."""
        self._upload_held = False
        """The database does not take the client's file fast enough."""
        self._input_held = False
        self._seconds = door.reactor.seconds
        self._last_used = 0.0
        self._timer: IDelayedCall | None = None

    # -- connecting ---------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Let the client log in, unless there are too many."""
        super().connectionMade()
        door = self.door
        door.received += 1
        self.secure = self.is_local
        if len(door.clients) >= door.max_connections:
            door.refused += 1
            if not door.strangers:
                self._refuse_entry(0)
                return
            # Whoever floods fills all places with such; who means to log in needs one for some milliseconds.
            next(iter(door.strangers)).give_way()
        door.clients.add(self)
        door.strangers[self] = None
        self._begin_login().greet_when_known()

    def _refuse_entry(self, sequence: int) -> None:
        limit = self.door.max_connections
        self.log.warning("client refused", reason="max_client_connections")
        self.receive = ignore
        self.send_error(Err(1040, "HY000", f"Number simultaneous connections exceeded ({limit})"), sequence)
        self.close()

    def give_way(self) -> None:
        """Leave to a client that has just come, who is more likely to log in than the one who has not for longest."""
        door, login = self.door, self._login
        assert login is not None
        door.clients.discard(self)
        del door.strangers[self]
        # The end of TLS takes seconds if the client does not agree to it, and the socket is needed.
        if self.lost:
            self.transport.abortConnection()
        elif self.is_tls:
            self.abort()
        else:
            self._refuse_entry(login.sequence)

    def refusal(self) -> Err | None:
        """Count a client behind a balancer for its address, once; give the error that it is refused with, if any.

        To be called when the client's first bytes are here: they follow the balancer's header. Others are counted
        before they get here.
        """
        counted, self._counted = self._counted, True
        return None if counted or self.is_local else self.door.refusal(self.peer)

    def turn_away(self, err: Err, sequence: int) -> None:
        """Send away a client that is not let in, at the least cost."""
        self.receive = ignore
        self.send_error(err, sequence)
        self.close()

    def _begin_login(self) -> Login:
        self._login = login = Login(self)
        self._rearm(self.door.handshake_timeout, login.timed_out)
        return login

    def expect(self, receive: Callable[[bytes], None]) -> None:
        """Hand what the client sends to `receive`."""
        self.receive = receive

    def expects(self, receive: Callable[[bytes], None]) -> bool:
        """Tell whether it is `receive` that gets it."""
        return self.receive == receive

    @property
    def peer(self) -> str:
        """The client's address, as in the server's own messages.

        Behind `haproxy:` it is the balancer's until the client's first bytes: they follow the balancer's header.
        """
        return "localhost" if self.is_local else str(self.transport.getPeer().host)

    @property
    def is_local(self) -> bool:
        """The client uses a Unix socket; behind `haproxy:`, as for `peer`."""
        return isinstance(self.transport.getPeer(), UNIXAddress)

    @property
    def is_tls(self) -> bool:
        """TLS has been started."""
        return bool(getattr(self.transport, "TLS", False))

    def logged_in(self, relay: Relay, rest: bytes) -> None:
        """The login is over; `rest` are commands that came with its last packet."""
        self._login = None
        self.relay = relay
        self.receive = self._commands
        if self.capabilities & cap.CLIENT_QUERY_ATTRIBUTES:
            self._handlers, self._plain_query = HANDLERS_WITH_ATTRIBUTES, -1
        if self.capabilities & _COMPRESSION:
            if self._compressing is None:
                self._compressing = self._compress()
                self._compressing.dataReceived(rest)
                rest = b""
        else:
            self.join_hub(after=4)
        self._last_used = self.door.reactor.seconds()
        self._rearm(self.door.idle_timeout, self._check_idle)
        if rest:
            self._commands(rest)

    def _compress(self) -> Compressing:
        """Compress what follows the login's last packet, as agreed in the handshake."""
        zstd = not self.capabilities & cap.CLIENT_COMPRESS
        layer = Compressing(self, Frames(Zstd(self.zstd_level) if zstd else Zlib()))
        self.speak_through(layer)

        def ready() -> None:
            ClientConnection.ready(self)
            layer.open()

        # Only here, so that clients that do not compress pay nothing for those that do.
        self.ready = ready  # type: ignore[method-assign]
        return layer

    @property
    def takes_input(self) -> bool:
        """What the client sends is wanted now, not only when the command under way is done."""
        if self._slow or self._upload_held:
            return False
        return self.relay is None or not self.relay.busy or self.receive == self._in_upload

    def keep_unopened(self, size: int) -> None:
        """Note how many bytes of the client's wait, still compressed."""
        self._unopened = size
        self._balance()

    def refuse_frame(self, reason: str) -> None:
        """End the connection: a compressed frame cannot be read."""
        self._refuse(errors.OUT_OF_ORDER, reason)

    @property
    def log(self) -> Any:
        """The client's logger; made when there is something to log, which for most clients is never."""
        if self._log is None:
            self._log = structlog.get_logger("rdsproxy.client").bind(client=self.id)
            if self.program:
                self._log = self._log.bind(program=self.program.decode("utf-8", "replace"))
        return self._log

    @property
    def is_logged_in(self) -> bool:
        """The login, or the last one, is over."""
        return self._login is None and self.relay is not None

    # -- commands ------------------------------------------------------------------------------------------------------

    # Has a twin in shortcut/commands.c.
    def _commands(self, data: bytes) -> None:
        relay = self.relay
        assert relay is not None
        command = command_of(data)
        # The common case: one whole command, and nothing before it.
        if command >= 0 and not self._buffer and self._large is None and not relay.busy:
            relay.sequence = 1
            if command == self._plain_query:
                self.queries += 1
                relay.run(data, 0, relay.session.state.lexer.all_traits(data[5:]))
            else:
                self._handlers[command](self, relay, data, data[HEADER_SIZE:])
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
            while not relay.busy and not self._slow and self.receive == self._commands and self._next_command():
                pass
        except TooBigError:
            self._refuse(Err(1153, "08S01", "Got a packet bigger than 'max_allowed_packet' bytes"))
        except ProtocolError as error:
            self._refuse(errors.OUT_OF_ORDER, str(error))
        finally:
            self._pumping = False
        if self.receive == self._in_upload and self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._in_upload(data)
        self._balance()

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
            self._refuse(errors.MALFORMED, "an empty command")
            return False
        facts = self.door.known.facts
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
        relay.sequence = sequence_after(packets)
        self._handlers[payload[0]](self, relay, packets, payload)

    def _refuse(self, err: Err, reason: str = "") -> None:
        """End the connection: what follows cannot be understood."""
        self.log.warning("client sent a broken packet", reason=reason or err.message)
        self.send_error(err)
        self.fail(reason or err.message)

    def quit(self) -> None:
        """The client says goodbye: whatever it sent behind that is not run."""
        self.receive = ignore
        self.close()

    def change_user(self, payload: bytes) -> None:
        """Begin a new session, for another user or the same."""
        relay, self.relay = self.relay, None
        assert relay is not None
        relay.client_lost()
        rest, self._buffer = bytes(self._buffer), bytearray()
        self._begin_login().change_user(payload, relay.session.diagnostics.found_rows)
        if rest:
            self.receive(rest)

    # -- for the relay -------------------------------------------------------------------------------------------------

    # Has a twin in shortcut/replies.c.
    def ready(self) -> None:
        """The command is done: take the next one."""
        seconds = self._seconds
        self._last_used = seconds()
        if self._buffer:
            self._pump()

    def send_error(self, err: Err, sequence: int = 1) -> None:
        """Send an ERR packet."""
        self.write(frame(err.build(with_state=self.greeted), sequence))

    def send_ok(self, eof: bool = False) -> None:
        """Send the proxy's own OK, or the EOF that some commands are answered by."""
        relay = self.relay
        assert relay is not None
        status = relay.session.status & LASTING
        if eof and relay.form.eof:
            self.write(frame(build_eof(0, status), 1))
        else:
            ok = Ok(0, 0, status, 0)
            telling = relay.form.telling
            if telling is not None and telling.due:
                ok = ok.with_changes(telling.tell(None))
            self.write(frame(build_ok(ok, header=0xFE if eof else 0x00), 1))

    def begin_upload(self) -> None:
        """What comes next is a file, not a command."""
        self.receive = self._in_upload
        if self._buffer and not self._pumping:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._in_upload(data)
        if self._unopened:
            self._open()

    def _in_upload(self, data: bytes) -> None:
        relay = self.relay
        assert relay is not None
        try:
            rest = upload(relay, data)
        except ProtocolError as error:
            self._refuse(errors.OUT_OF_ORDER, str(error))
            return
        if rest is not None:
            self.receive = self._commands
            self._buffer += rest
            self._pump()

    def hold_input(self) -> None:
        """Stop reading from the client."""
        self._upload_held = True
        self._balance()

    def resume_input(self) -> None:
        """Read again."""
        self._upload_held = False
        self._balance()
        if self._unopened:
            self._open()

    def _balance(self) -> None:
        """Read from the client as long as something is done with what it sends."""
        # What is not yet a whole command is read on, however long it is: nothing else would ever make it whole.
        ahead = self.relay is not None and self.relay.busy and len(self._buffer) + self._unopened > MAX_WAITING
        held = self._upload_held or self._slow or ahead
        if held != self._input_held and not self.lost:
            self._input_held = held
            if held:
                self.stop_reading()
            else:
                self.read_again()

    def sibling(self, number: int) -> Relay | None:
        """Give the relay of the client with this connection id, who has logged in."""
        client = self.door.find(number)
        return client.relay if client is not None else None

    def cut(self, err: Err | None = None, reason: str = "killed") -> None:
        """End the connection as a server does: without a word, but for an error that answers the client's own KILL."""
        self.log.info("client disconnected", reason=reason)
        self.receive = ignore
        self._buffer.clear()
        if err is not None:
            self.send_error(err)
        self.close()

    def fail(self, why: str) -> None:
        """Close: the client can make no sense of what would follow."""
        self.log.warning("client disconnected", reason=why)
        self.receive = ignore
        self.close()

    # -- the end -------------------------------------------------------------------------------------------------------

    def stop_timer(self) -> None:
        """Let the client take its time, until the next one is set."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _rearm(self, delay: float, call: Callable[[], None]) -> None:
        self.stop_timer()
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
        self.receive = ignore
        self.send_error(INACTIVE, 0)
        self.close()

    def shut_down(self) -> None:
        """The proxy stops."""
        self.receive = ignore
        if self.relay is not None and self.relay.busy:
            self.abort()
        else:
            self.send_error(SHUTDOWN, 0)
            self.close()

    def pauseProducing(self) -> None:
        """The client reads slowly: take no more commands of it until it has read the answers it has."""
        self._slow = True
        self._balance()
        if self.relay is not None:
            self.relay.client_slow()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._slow = False
        if self.relay is not None:
            self.relay.client_caught_up()
        self._pump()
        self._balance()
        if self._unopened:
            self._open()

    def _open(self) -> None:
        assert self._compressing is not None
        self._compressing.open()

    def closed(self, reason: Failure) -> None:
        """Leave nothing of the client behind."""
        self.receive = ignore
        door = self.door
        door.clients.discard(self)
        door.strangers.pop(self, None)
        door.closed += 1
        door.queries_of_closed += self.queries
        if self.is_tls:
            door.tls_queries_of_closed += self.queries
        self.stop_timer()
        login, self._login = self._login, None
        if login is not None:
            login.client_lost(handshake_problem(reason.value))
        relay, self.relay = self.relay, None
        if relay is not None:
            # A client that has sent more, a COM_QUIT say, did not mean to wait for what is under way.
            relay.client_lost(kill=not self._buffer)
