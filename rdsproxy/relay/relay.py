"""One client's life after its login: take a command, borrow, restore, relay the reply, give the connection back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.pool.route import Route
from rdsproxy.protocol.attributes import NONE
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import UploadReader
from rdsproxy.protocol.reply import DONE, FIRST, ClientForm, Reply
from rdsproxy.protocol.responses import Err
from rdsproxy.relay import errors, killing
from rdsproxy.relay.behind import Behind
from rdsproxy.relay.client import Client
from rdsproxy.relay.losing import lose
from rdsproxy.relay.pin_log import PinLog
from rdsproxy.relay.repeating import Command, Repeating, is_rollback
from rdsproxy.relay.restoring import bring_to
from rdsproxy.relay.returning import give_back, recycle
from rdsproxy.relay.settling import settle
from rdsproxy.relay.slowly import OF_IDS, run_slowly
from rdsproxy.session import roles
from rdsproxy.session.pinning import UNUSED_TRANSACTION, PinReason
from rdsproxy.session.session import IN_TRANSACTION, Session
from rdsproxy.session.statements import ENDING, UNCOUNTED, Trait
from rdsproxy.session.transactions import LEFT_OPEN, begins_bare, give_up

Launch = Callable[["Relay", DatabaseConnection, bytes], None]
"""Sends a command, of these packets, that depends on the connection that it is sent on."""


class Relay:
    """Runs the commands of one logged-in user on connections that a route leads to."""

    __slots__ = (
        "_after_ok",
        "attributes",
        "behind",
        "borrowing",
        "busy",
        "client",
        "command",
        "connection",
        "deliver",
        "form",
        "key",
        "lost",
        "pin_log",
        "repeating",
        "route",
        "sequence",
        "session",
        "settling",
        "slow_client",
        "survive",
        "traits",
        "until",
        "uploading",
        "waiting",
        "work",
    )

    def __init__(self, client: Client, route: Route, key: PoolKey, form: ClientForm, session: Session) -> None:
        self.client = client
        self.route = route
        self.key = key
        self.form = form
        self.session = session
        self.connection: DatabaseConnection | None = None
        self.busy = False
        """A command is under way; the next one has to wait."""
        self.deliver = client.write
        self.sequence = 1
        """The sequence id that the client expects of the reply's first packet, as it tells with its command."""
        self.attributes: bytes | None = NONE
        """Those of the client's COM_QUERY, None if they are still in it."""
        self.traits = Trait.NONE
        """What the statement under way does."""
        self.settling = False
        """The client has its reply, and the server is asked what it has made of the session."""
        self._after_ok: Callable[[], None] | None = None
        self.work: Deferred[None] | None = None
        """What `begin` or `work_on` began."""
        self.waiting = False
        """The command under way waits for a connection."""
        self.until = 0.0
        """When it is refused, in reactor time."""
        self.command: Command | None = None
        """The one under way."""
        self.repeating = Repeating()
        self.lost: Err | None = None
        """What the client is told with its next command."""
        self.uploading: UploadReader | None = None
        """The client sends a file."""
        self.slow_client = False
        """The database is not read from, since the client does not take what there is."""
        self.pin_log = PinLog(client, session)
        self.behind = Behind(key, session)
        self.borrowing = False
        """The command under way has no connection yet, or none that is as it must be."""
        self.survive: Callable[[], None] | None = None
        """Puts back what is known of diagnostics, if the command is sent again behind a loss; None: it cannot be."""

    # -- commands -----------------------------------------------------------------------------------------------------

    # Has a twin in shortcut/commands.c.
    def run(
        self,
        packets: bytes,
        expect: int = FIRST,
        traits: Trait = Trait.NONE,
        after_ok: Callable[[], None] | None = None,
        launch: Launch | None = None,
    ) -> None:
        """Run a command on the session's connection, or on one lent for it.

        `packets` go out as they are, and their reply begins in state `expect`, unless `launch` does it otherwise.
        `after_ok` is called when the reply is no error, before anything else is decided.
        """
        self.busy = True
        self.traits = traits
        self._after_ok = after_ok
        session = self.session
        diagnostics = session.diagnostics
        connection = self.connection
        if (
            (
                not traits
                or (
                    traits is UNCOUNTED
                    and (
                        not session.states.asks_found_rows.on
                        or (connection is not None and diagnostics.found_rows_here)
                    )
                )
            )
            and not diagnostics.carried
            and self.lost is None
        ):
            if connection is not None:
                if session.insert_id_here or not session.lasting_pins:
                    if session.pins:
                        session.pins &= ~UNUSED_TRANSACTION
                    connection.last_borrower = self
                    self.command = (packets, expect, launch, False)
                    self._send(connection, packets, expect, launch)
                    return
            elif not session.pins:
                self.command = (packets, expect, launch, True)
                behind, route = self.behind, self.route
                if behind.left is not None:
                    connection = behind.take()
                if connection is None and (behind.left is None or not behind.must_fetch):
                    # Python would look in the class first for what is called as a method, and these are attributes.
                    take = route.take
                    connection = take(self.key, session.state)
                    if connection is None:
                        self.waiting = True
                        wait = route.wait
                        wait(self, self.key, session.state, None)
                        return
                if connection is not None:
                    self.borrowed(connection)
                    self._send(connection, packets, expect, launch)
                    return
        if traits & OF_IDS:
            if traits & Trait.KILL and killing.run_kill(self, packets):
                return
            if traits & Trait.CONNECTION_ID and launch is None:
                packets = killing.name_client(self, packets)
            self.run(packets, expect, traits & ~OF_IDS, after_ok, launch)
            return
        if self.lost is not None:
            err, self.lost = self.lost, None
            if err is errors.ROLLED_BACK and is_rollback(packets):
                self.run(packets, expect, traits, after_ok, launch)
            else:
                self.refuse(err)
        else:
            self.command = (packets, expect, launch, self.connection is None and not session.pins)
            self.begin(run_slowly(self, packets, expect, traits, launch))

    # Has a twin in shortcut/sending.c.
    def granted(self, connection: DatabaseConnection) -> None:
        """Run the command that has waited for this connection."""
        assert self.command is not None
        packets, expect, launch, _ = self.command
        self.waiting = False
        # As `borrowed` and `_send`, without the calls: on a busy proxy nearly every query comes this way.
        self.connection = connection
        connection.borrower = connection.last_borrower = self
        connection.used = True
        self.behind.arrived(connection)
        if connection.state is not self.session.state or connection.left is not None:
            self.begin(self._restore_and_run(connection, packets, expect, launch))
        elif launch is None:
            connection.run(packets, expect, self.form)
        else:
            launch(self, connection, packets)

    def wait_again(self, deadline: float) -> None:
        """Wait for another target: the one that was waited for is lost."""
        self.route.wait(self, self.key, self.session.state, deadline)

    def refused(self, err: Err) -> None:
        """Tell the client that its command could not get a connection."""
        self.waiting = False
        self.refuse(err)

    async def _restore_and_run(
        self, connection: DatabaseConnection, packets: bytes, expect: int, launch: Launch | None
    ) -> None:
        await bring_to(connection, self.session)
        self.launch(connection, packets, expect, launch)

    def launch(self, connection: DatabaseConnection, packets: bytes, expect: int, launch: Launch | None) -> None:
        """Send the command, as `run` was given it, on the connection that has been made ready for it."""
        self.session.pins &= ~UNUSED_TRANSACTION
        self.go_on(connection)
        self._send(connection, packets, expect, launch)

    # Has a twin in shortcut/sending.c.
    def _send(self, connection: DatabaseConnection, packets: bytes, expect: int, launch: Launch | None) -> None:
        if launch is None:
            connection.run(packets, expect, self.form)
        else:
            launch(self, connection, packets)

    def go_on(self, connection: DatabaseConnection) -> None:
        """End the work that `begin` began: the connection is ready for the client's command."""
        self.work = None
        connection.lend(self)

    def begin(self, work: Any) -> None:
        """Do something for the client's command that takes the database's answers; it ends the work itself."""
        self.busy = True
        self.survive = _nothing_lost
        deferred = Deferred.fromCoroutine(work)
        deferred.addErrback(self._work_failed)
        # Work that is done already may have begun the next, which then is the one under way.
        if not deferred.called:
            self.work = deferred

    def work_on(self, work: Any) -> Deferred[None]:
        """Do something for the client that is no command; whoever asked for it calls `end_work`."""
        self.busy = True
        # It may be done at once, and then leads on to the next work.
        self.work = deferred = Deferred.fromCoroutine(work)
        return deferred

    def end_work(self, broken: bool = False) -> None:
        """End what `work_on` began; `broken`: its connection, if there is one, is in no known state."""
        self.work = None
        self.busy = False
        if self.connection is None:
            return
        if broken:
            connection, self.connection = self.connection, None
            connection.pool.recycle(connection)
        else:
            give_back(self, self.connection)

    async def borrow(self, clean: bool = False) -> None:
        """Hold a connection in the session's state; `clean`: one that has forgotten all other sessions."""
        session = self.session
        connection = await self.route.borrow(self.key, session.state)
        self.borrowed(connection)
        if clean:
            await self.clean(connection)
        elif connection.state is not session.state or connection.left is not None:
            await bring_to(connection, session)

    async def clean(self, connection: DatabaseConnection) -> None:
        """Make a connection that was just borrowed forget all sessions, and bring it to the state of this one."""
        session = self.session
        await connection.ask_after_left([])
        # One that was begun again here goes with all the rest.
        give_up(session)
        await connection.pool.connector.reset(connection)
        session.insert_id_here = not session.insert_id
        session.diagnostics.found_rows_here = False
        if connection.state is not session.state:
            await bring_to(connection, session)

    async def borrow_interruptibly(self, clean: bool) -> None:
        """Do as `borrow`, for a command that nothing has been sent of: KILL QUERY ends it at once."""
        self.borrowing = True
        try:
            await self.borrow(clean=clean)
        finally:
            self.borrowing = False

    # Has a twin in shortcut/sending.c.
    def borrowed(self, connection: DatabaseConnection) -> None:
        """Begin to use a connection that the pool has lent."""
        self.connection = connection
        connection.lend(self)
        self.behind.arrived(connection)

    def _work_failed(self, failure: Failure) -> None:
        self.work = None
        if failure.check(CancelledError):
            return
        connection = self.connection
        if isinstance(failure.value, BorrowError):
            self.connection = None
            session, code = self.session, failure.value.err.code
            if connection is not None:
                # A restore that failed half way: begin again from a clean connection.
                recycle(self, connection)
                mended = code in errors.NO_SCHEMA or code in errors.NO_ROLE
                give_up(session)
                if session.status & IN_TRANSACTION and not (mended and session.state.transaction):
                    session.lost()
                    self.lost = errors.SESSION_LOST
            if code in errors.NO_SCHEMA:
                # Somebody dropped it: told once, so that the client can create it or use another.
                session.state = session.states.with_schema(session.state, b"")
            elif code in errors.NO_ROLE:
                session.state = session.states.with_role(session.state, roles.NONE)
            self.refuse(failure.value.err)
        elif failure.check(ConnectionLostError):
            # What the proxy did for the command was lost; the command itself has not been sent.
            survive, self.survive = self.survive, None
            if connection is None and survive is not None and self.repeating.again(self.command):
                survive()
                self.repeat()
            else:
                self.refuse(errors.LOST)
        else:
            broken = failure.check(*errors.BROKEN)
            if not broken:
                log_unexpected(self.client.log, failure)
            self.connection = None
            if connection is not None:
                connection.pool.discard(connection)
                self.session.lost()
            self.refuse(errors.LOST if broken else errors.INTERNAL)

    def refuse(self, err: Err) -> None:
        """End the command with an error of the proxy's."""
        self.work = None
        self.client.send_error(err, self.sequence)
        if self.connection is not None:
            settle(self)
            return
        # A statement that never ran pins nothing.
        self.session.pins = PinReason.NONE
        self.done()

    def tell_lost(self) -> bool:
        """End the command with the error that the client has yet to be told of a loss, if there is one."""
        err, self.lost = self.lost, None
        if err is None:
            return False
        self.busy = True
        self.refuse(err)
        return True

    def answer_with(self, reply: bytes) -> None:
        """End the command with a whole reply that the proxy knows."""
        self.work = None
        self.client.write(reply)
        if self.connection is not None:
            settle(self)
        else:
            self.done()

    def answer_error(self, err: Err) -> None:
        """End the command with the server's own error, which it gave to something that the proxy did for it."""
        self.work = None
        self.failed()
        self.client.send_error(err, self.sequence)
        settle(self)

    def answer(self, err: Err | None) -> None:
        """End the command with an answer of the proxy's own, None for OK."""
        self.work = None
        if err is not None:
            self.counted(-1)
            self.client.send_error(err)
        else:
            self.counted(0)
            self.client.send_ok()
        if self.session.pins & PinReason.KILL and self.connection is not None:
            settle(self)
        else:
            self.done()

    def give_up_quietly(self, broken: bool) -> None:
        """End a command that has no answer and could not be carried out; `broken`: neither is its connection known."""
        self.work = None
        connection = self.connection
        if connection is not None and broken:
            if self.session.holds:
                self.lost = errors.SESSION_LOST
            self.connection = None
            recycle(self, connection)
            self.session.lost()
        if self.connection is not None:
            self.failed()
            settle(self)
        else:
            self.done()

    def failed(self) -> None:
        """Note an error to something that the proxy did for the client: nobody can read it there any more."""
        session = self.session
        session.unprobed = session.insert_id_moved = True
        session.diagnostics.failed()

    def then(self, call: Callable[[], None]) -> None:
        """Have this called too when the reply is no error."""
        after = self._after_ok

        def both() -> None:
            if after is not None:
                after()
            call()

        self._after_ok = both

    def counted(self, row_count: int) -> None:
        """Note what ROW_COUNT() is behind a command that no connection has seen."""
        self.session.diagnostics.row_count = row_count
        connection = self.connection or self.behind.last
        if connection is not None and connection.last_borrower is self:
            connection.last_borrower = self.behind

    def repeat(self) -> None:
        """Send the command again, to whoever is the writer by now."""
        assert self.command is not None
        packets, expect, launch, _ = self.command
        self.work = None
        self.route.counts.repeated += 1
        self.run(packets, expect, self.traits, self._after_ok, launch)

    def done(self) -> None:
        """End the command: the client has all of its answer."""
        self.busy = False
        self.command = None
        self.client.ready()

    # -- replies ------------------------------------------------------------------------------------------------------

    # Has a twin in shortcut/replies.c.
    def replied(self) -> None:
        """The reply is complete, or the server waits for a file."""
        connection = self.connection
        assert connection is not None
        reply = connection.reply
        session = self.session
        if not session.pins and self._after_ok is None and (reply.plain or self._is_nearly_plain(reply)):
            traits = self.traits
            status = reply.status
            diagnostics = session.diagnostics
            if (
                (not traits or traits is UNCOUNTED)
                and not diagnostics.remarks
                and (not session.insert_id_moved or session.insert_id_here or not status & IN_TRANSACTION)
            ):
                # Nothing to learn but whether the transaction goes on.
                session.status = status
                diagnostics.row_count = count = reply.row_count
                if traits:
                    diagnostics.found_rows = None
                    diagnostics.counting = False
                elif count < -1:
                    diagnostics.found_rows = -2 - count  # `rows_told`, without the call
                    diagnostics.found_rows_here = True
                if not status & IN_TRANSACTION:
                    give_back(self, connection)
                self.busy = False
                self.command = None
                self.client.ready()
                return
        self._replied_at_length(connection, reply)

    def _is_nearly_plain(self, reply: Reply) -> bool:
        """Tell whether a reply says no more than a plain one but for an insert id, and note that."""
        if reply.insert_id:
            self.session.insert_id_moved = True
        return reply.state == DONE and reply.changes is None and not reply.failed and not reply.warnings

    def _replied_at_length(self, connection: DatabaseConnection, reply: Reply) -> None:
        if reply.state != DONE:
            if reply.refuses_upload:
                connection.write(reply.refused_upload())
            else:
                self.uploading = UploadReader(-reply.shift, reply.next_sequence)
                self.client.begin_upload()
            return
        if reply.insert_id:
            self.session.insert_id_moved = True
        if reply.refusal:
            self._refused_by_target(connection, reply.refusal)
        else:
            self._learn(connection)

    def _refused_by_target(self, connection: DatabaseConnection, packet: bytes) -> None:
        """The database is read-only: send the command to the writer, or give the client the database's error."""
        pool = connection.pool
        session = self.session
        # What a procedure did before the refusal it has done.
        keeps = session.tracking.in_force or self.traits & Trait.ROUTINE or not begins_bare(session)
        if keeps or not (pool.follows_writer and self.repeating.again(self.command)):
            if pool.follows_writer:
                pool.trouble()
            self.client.write(packet)
            self._learn(connection)
            return
        session.undone()
        session.diagnostics.found_rows_here = False  # what the refusal has made of it is not known
        give_back(self, connection)
        pool.doubt()
        self.repeat()

    def _learn(self, connection: DatabaseConnection) -> None:
        """Take in what the reply told about the session, and what it did not tell."""
        session = self.session
        reply = connection.reply
        if reply.failed:
            connection.copies.doubt_types()
        try:
            traits = self.traits & ~ENDING if reply.failed else self.traits
            session.learn(reply.status, reply.changes, traits, alone=reply.packets == 1)
        except ProtocolError as error:
            # The client has its reply, but what the session has become is not known.
            self.connection = None
            connection.pool.discard(connection)
            self.client.fail(f"unreadable session trackers: {error}")
            return
        session.answered_by(reply, self.traits)
        if reply.statement_id:
            # What COM_STMT_PREPARE leaves alone may be another connection's.
            connection.last_borrower = self.behind
        if self._after_ok is not None and not reply.failed:
            self._after_ok()
        if self.traits & Trait.DISCONNECTS and not reply.failed:
            self.connection = None
            connection.pool.discard(connection)
            self.client.cut(reason="COMMIT or ROLLBACK with RELEASE")
            return
        settle(self)

    # -- ends ---------------------------------------------------------------------------------------------------------

    def give_up(self, connection: DatabaseConnection) -> None:
        """Give the connection back for somebody who waits, if nothing but an unused transaction holds it."""
        session = self.session
        if self.connection is not connection or self.busy or self.lost is not None or not give_up(session):
            return
        give_back(self, connection, session.states.with_transaction(session.state, LEFT_OPEN))

    def connection_broken(self, why: str) -> None:
        """The connection on loan is gone."""
        lose(self, why)

    def client_lost(self, *, kill: bool = False) -> None:
        """The client is gone, or becomes another user: leave nothing of it behind.

        `kill`: nobody wants the statement that may be under way, so the server is told to stop it.
        """
        work, self.work = self.work, None
        connection, self.connection = self.connection, None
        if work is not None:
            work.cancel()
        if self.waiting:
            self.route.forget(self)
        self.behind.forget()
        if connection is None or connection.lost:
            return
        connection.borrower = None
        if self.slow_client:
            connection.read_again()
        if self.busy and not self.settling:
            # In mid-reply, or while its state was being changed: nothing is known of it.
            if kill and work is None:
                connection.pool.abandon(connection)
            else:
                connection.pool.discard(connection)
        else:
            recycle(self, connection)

    # -- back-pressure ------------------------------------------------------------------------------------------------

    def client_slow(self) -> None:
        """The client does not take its reply fast enough: stop reading it from the database."""
        if self.connection is not None:
            self.slow_client = True
            self.connection.stop_reading()

    def client_caught_up(self) -> None:
        """Go on."""
        if self.slow_client:
            self.slow_client = False
            if self.connection is not None:
                self.connection.read_again()

    def pause(self) -> None:
        """The database does not take the client's command fast enough."""
        self.client.hold_input()

    def resume(self) -> None:
        """Go on."""
        self.client.resume_input()


def _nothing_lost() -> None:
    """All is known as it was."""
