"""One client's life after its login: take a command, borrow, restore, relay the reply, give the connection back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.backend.login import LoginError
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.pool import BorrowError, Pool
from rdsproxy.protocol import commands
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.framing import MAX_PAYLOAD, UploadReader, sequence_after
from rdsproxy.protocol.reply import DONE, FIRST, ClientForm
from rdsproxy.protocol.responses import Err
from rdsproxy.protocol.results import number
from rdsproxy.relay import errors, killing
from rdsproxy.relay.client import Client
from rdsproxy.relay.restoring import bring_to, run_all
from rdsproxy.session import diagnostics
from rdsproxy.session.leaving import QUIET, Left, Question
from rdsproxy.session.pinning import PinReason, explain
from rdsproxy.session.questions import ASK_INSERT_ID, PROBES, questions_of
from rdsproxy.session.session import IN_TRANSACTION, Session
from rdsproxy.session.statements import ENDING, Trait

# As RDS Proxy puts it.
_TO_THE_END: Final = (
    "for the remainder of the session. The proxy can't reuse this connection until the session ends."
)

READS_INSERT_ID: Final = Trait.INSERT_ID | Trait.ROUTINE

Launch = Callable[[DatabaseConnection], None]
"""Sends a command that depends on the connection that it is sent on."""

_OF_IDS: Final = Trait.CONNECTION_ID | Trait.KILL

# A connection that could not be made like new, by the server's fault, is of no use any more.
_BROKEN: Final = (LoginError, AuthenticationError, ProtocolError)


class Relay:
    """Runs the commands of one logged-in user on connections of one pool."""

    def __init__(self, client: Client, pool: Pool, key: PoolKey, form: ClientForm, session: Session) -> None:
        self.client = client
        self.pool = pool
        self.key = key
        self.form = form
        self.session = session
        self.connection: DatabaseConnection | None = None
        self.busy = False
        """A command is under way; the next one has to wait."""
        self.deliver = client.write
        self._sequence = 1
        """The sequence id that the client expects of the reply's first packet."""
        self._traits = Trait.NONE
        self._settling = False
        """The client has its reply, and the server is asked what it has made of the session."""
        self._after_ok: Callable[[], None] | None = None
        self._work: Deferred[None] | None = None
        self._waiting: tuple[bytes, int, Launch | None] | None = None
        self._lost: Err | None = None
        self._upload: UploadReader | None = None
        self._slow_client = False
        self._logged_pins: int = PinReason.NONE
        self._borrowing = False
        """The command under way has no connection yet, or none that is as it must be."""
        self._last_connection: DatabaseConnection | None = None
        self._left: Left | None = None
        """What this session has left on `_last_connection`, as far as nobody has taken it."""

    # -- commands -----------------------------------------------------------------------------------------------------

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
        self._sequence = sequence_after(packets) if len(packets) > MAX_PAYLOAD else 1
        self._traits = traits
        self._after_ok = after_ok
        session = self.session
        if not traits and self._lost is None:
            connection = self.connection
            if connection is not None:
                if session.insert_id_here or not session.lasting_pins:
                    if session.pins:
                        session.pins &= ~PinReason.COUNTED_ROWS
                    connection.last_borrower = self
                    self._send(connection, packets, expect, launch)
                    return
            elif not session.pins:
                if self._left is not None:
                    connection = self._borrow_left()
                if connection is None:
                    connection = self.pool.take(self.key, session.state)
                    if connection is not None:
                        self._borrowed(connection)
                if connection is not None:
                    self._send(connection, packets, expect, launch)
                else:
                    self._waiting = (packets, expect, launch)
                    self.pool.wait(self, self.key, session.state)
                return
        if traits & _OF_IDS:
            if traits & Trait.KILL and killing.run_kill(self, packets):
                return
            if traits & Trait.CONNECTION_ID and launch is None:
                packets = killing.name_client(self, packets)
            self.run(packets, expect, traits & ~_OF_IDS, after_ok, launch)
            return
        self.begin(self._run_slowly(packets, expect, traits, launch))

    def granted(self, connection: DatabaseConnection) -> None:
        """Run the command that has waited for this connection."""
        assert self._waiting is not None
        packets, expect, launch = self._waiting
        self._waiting = None
        self._borrowed(connection)
        if connection.state is not self.session.state or connection.left is not None:
            self.begin(self._restore_and_run(connection, packets, expect, launch))
        else:
            self._send(connection, packets, expect, launch)

    def refused(self, err: Err) -> None:
        """Tell the client that its command could not get a connection."""
        self._waiting = None
        self._refuse(err)

    async def _restore_and_run(
        self, connection: DatabaseConnection, packets: bytes, expect: int, launch: Launch | None
    ) -> None:
        await bring_to(connection, self.session, self.pool)
        self._launch(connection, packets, expect, launch)

    def _launch(self, connection: DatabaseConnection, packets: bytes, expect: int, launch: Launch | None) -> None:
        self.go_on(connection)
        self._send(connection, packets, expect, launch)

    def _send(self, connection: DatabaseConnection, packets: bytes, expect: int, launch: Launch | None) -> None:
        if launch is None:
            connection.run(packets, expect, self.form)
        else:
            launch(connection)

    def go_on(self, connection: DatabaseConnection) -> None:
        """End the work that `begin` began: the connection is ready for the client's command."""
        self._work = None
        connection.lend(self)

    def begin(self, work: Any) -> None:
        """Do something for the client's command that takes the database's answers; it ends the work itself."""
        self.busy = True
        deferred = Deferred.fromCoroutine(work)
        deferred.addErrback(self._work_failed)
        # Work that is done already may have begun the next, which then is the one under way.
        if not deferred.called:
            self._work = deferred

    async def _run_slowly(self, packets: bytes, expect: int, traits: Trait, launch: Launch | None) -> None:
        session = self.session
        if self._lost is not None:
            err, self._lost = self._lost, None
            self._refuse(err)
            return
        text = session.text_of(packets)
        clean = session.foresee(traits, text)
        new = self.connection is None and self._last_connection is None
        if self.connection is not None:
            mine = self.connection.last_borrower is self
        else:
            mine = bool(traits & Trait.DIAGNOSTICS or not clean) and self._borrow_last()
        if self._left is not None:
            await self._fetch_left(self._left)
        ends_diagnostics = not session.insert_id_here and traits & READS_INSERT_ID
        if new and traits & Trait.DIAGNOSTICS:
            session.found_rows = 0
        elsewhere = not session.found_rows_here and (text is None or b"FOUND_ROWS" in text.upper())
        retold = traits & Trait.DIAGNOSTICS and (not mine or session.captured or ends_diagnostics or elsewhere)
        if retold:
            told = self._retold(None if launch is not None else text)
            if told is None:
                return
            packets = told
        if self.connection is None:
            self._borrowing = True
            try:
                await self.borrow(clean=clean)
            finally:
                self._borrowing = False
        connection = self.connection
        assert connection is not None
        moved = session.insert_id_moved
        session.sent(traits)
        if not session.insert_id_here and (traits & READS_INSERT_ID or session.lasting_pins):
            if moved:
                (result,) = await connection.ask([ASK_INSERT_ID])
                if result.err is None:
                    session.answered_insert_id(number(result.row(1)[0]))
                    session.sent(traits)
            if not session.insert_id_here:
                await run_all(connection, [commands.query(b"SET last_insert_id=%d" % session.insert_id)])
                session.insert_id_here = True
        if retold:
            # What this connection has run before is not to be read.
            await run_all(connection, [QUIET])
        self._launch(connection, packets, expect, launch)

    def _retold(self, sql: bytes | None) -> bytes | None:
        """Give the packets of a statement that has the same answer as one that reads diagnostics from elsewhere.

        `sql`: the text of a COM_QUERY; None for any other command. None: the client has been given the answer, or the
        error that it is not known.
        """
        if sql is None:
            self._refuse(errors.DIAGNOSTICS_GONE)
            return None
        reply = diagnostics.shown(sql, self.session, self.form)
        if reply is None:
            try:
                return commands.query(diagnostics.retold(sql, self.session))
            except diagnostics.GoneError:
                self._refuse(errors.DIAGNOSTICS_GONE)
                return None
        self._work = None
        self.client.write(reply)
        if self.connection is not None:
            self.settle()
        else:
            self._done()
        return None

    async def borrow(self, clean: bool = False) -> None:
        """Hold a connection in the session's state; `clean`: one that has forgotten all other sessions."""
        session = self.session
        connection = await self.pool.borrow(self.key, session.state)
        self._borrowed(connection)
        if clean:
            await connection.ask_after_left([])
            await self.pool.connector.reset(connection)
        if connection.state is not session.state or connection.left is not None:
            await bring_to(connection, session, self.pool)

    def _borrowed(self, connection: DatabaseConnection) -> None:
        """Begin to use a connection that the pool has lent."""
        self.connection = connection
        connection.lend(self)
        session, left = self.session, self._left
        session.borrowed()
        if left is not None:
            if connection.left is left:
                self._take_back(left)
            else:
                left.outdated()
                if left.insert_id and not left.taken:
                    session.insert_id_here = False

    def _take_back(self, left: Left) -> None:
        """Find on the connection what the session has left there."""
        left.connection.left = self._left = None
        self.session.insert_id_here = left.here
        self.session.found_rows_here = left.found_rows_here
        self.session.insert_id_moved = left.insert_id

    async def _fetch_left(self, left: Left) -> None:
        """Wait until what the session has left elsewhere is known."""
        connection: DatabaseConnection = left.connection
        if left.taken:
            self._left = None
        elif connection.left is left and self.pool.take_this(self.key, connection):
            try:
                await connection.ask_after_left([])
            except ConnectionLostError:
                return  # as it would be lost with a connection of the client's own
            except BaseException:
                self.pool.discard(connection)
                raise
            self.pool.give_back(connection)
        else:
            # Another session has the connection, and asks for it first of all.
            taken: Deferred[None] = Deferred()
            left.on_taken = lambda: taken.callback(None)
            await taken

    def _borrow_left(self) -> DatabaseConnection | None:
        """Hold the connection on which the session has left something, if it is idle."""
        left = self._left
        assert left is not None
        if left.taken:
            self._left = None
            return None
        connection: DatabaseConnection = left.connection
        if (
            connection.left is left
            and connection.state is self.session.state
            and self.pool.take_this(self.key, connection)
        ):
            self._borrowed(connection)
            return connection
        left.outdated()
        return None

    def _borrow_last(self) -> bool:
        """Hold the connection that the session had last, if nothing else has run there."""
        last = self._last_connection
        if (
            last is None
            or last.last_borrower is not self
            or last.state is not self.session.state
            or not self.pool.take_this(self.key, last)
        ):
            return False
        found_rows_here = self.session.found_rows_here
        self._borrowed(last)
        self.session.found_rows_here = found_rows_here
        return True

    def _work_failed(self, failure: Failure) -> None:
        self._work = None
        if failure.check(CancelledError):
            return
        connection = self.connection
        if isinstance(failure.value, BorrowError):
            self.connection = None
            if connection is not None:
                # A restore that failed half way: begin again from a clean connection.
                self.pool.recycle(connection)
            if failure.value.err.code in errors.NO_SCHEMA:
                # Somebody dropped it: told once, so that the client can create it or use another.
                self.session.state = self.session.states.with_schema(self.session.state, b"")
            self._refuse(failure.value.err)
        elif failure.check(ConnectionLostError):
            self._refuse(errors.LOST)
        else:
            broken = failure.check(*_BROKEN)
            if not broken:
                log_unexpected(self.client.log, failure)
            self.connection = None
            if connection is not None:
                self.pool.discard(connection)
            self._refuse(errors.LOST if broken else errors.INTERNAL)

    def _refuse(self, err: Err) -> None:
        """End the command with an error of the proxy's."""
        self._work = None
        self.client.send_error(err, self._sequence)
        if self.connection is not None:
            self.settle()
            return
        # A statement that never ran pins nothing.
        self.session.pins = PinReason.NONE
        self._done()

    def answer_error(self, err: Err) -> None:
        """End the command with the server's own error, which it gave to something that the proxy did for it."""
        self._work = None
        self._failed()
        self.client.send_error(err, self._sequence)
        self.settle()

    def answer(self, err: Err | None) -> None:
        """End the command with an answer of the proxy's own, None for OK."""
        self._work = None
        if err is not None:
            self.session.row_count = -1
            self.client.send_error(err)
        else:
            self.session.row_count = 0
            self.client.send_ok()
        if self.session.pins & PinReason.KILL and self.connection is not None:
            self.settle()
        else:
            self._done()

    def give_up_quietly(self, broken: bool) -> None:
        """End a command that has no answer and could not be carried out; `broken`: neither is its connection known."""
        self._work = None
        connection = self.connection
        if connection is not None and broken:
            if self.session.holds:
                self._lost = errors.SESSION_LOST
            self.connection = None
            self.session.lost()
            self.pool.recycle(connection)
        if self.connection is not None:
            self._failed()
            self.settle()
        else:
            self._done()

    def _failed(self) -> None:
        """Note an error to something that the proxy did for the client: nobody can read it there any more."""
        session = self.session
        session.unprobed = session.insert_id_moved = session.remarks = True
        session.row_count = -1

    def _done(self) -> None:
        self.busy = False
        self.client.ready()

    # -- replies ------------------------------------------------------------------------------------------------------

    def replied(self) -> None:
        """The reply is complete, or the server waits for a file."""
        connection = self.connection
        assert connection is not None
        reply = connection.reply
        if reply.state != DONE:
            if reply.refuses_upload:
                connection.write(reply.refused_upload())
            else:
                self._upload = UploadReader(-reply.shift, reply.next_sequence)
                self.client.begin_upload()
            return
        session = self.session
        if reply.insert_id:
            session.insert_id_moved = True
        if (
            reply.changes is None
            and not reply.failed
            and not reply.warnings
            and not session.remarks
            and not session.reads_found_rows
            and not session.pins
            and not self._traits
            and self._after_ok is None
            and (not session.insert_id_moved or session.insert_id_here or not reply.status & IN_TRANSACTION)
        ):
            # Nothing to learn but whether the transaction goes on.
            session.status = reply.status
            session.row_count = count = reply.row_count
            if count < 0:
                session.found_rows_here = True
            if not reply.status & IN_TRANSACTION:
                self._give_back(connection)
            self.busy = False
            self.client.ready()
            return
        self._learn(connection)

    def _learn(self, connection: DatabaseConnection) -> None:
        """Take in what the reply told about the session, and what it did not tell."""
        session = self.session
        reply = connection.reply
        try:
            traits = self._traits & ~ENDING if reply.failed else self._traits
            session.learn(reply.status, reply.changes, traits)
        except ProtocolError as error:
            # The client has its reply, but what the session has become is not known.
            self.connection = None
            self.pool.discard(connection)
            self.client.fail(f"unreadable session trackers: {error}")
            return
        session.answered_by(reply, self._traits)
        if self._after_ok is not None and not reply.failed:
            self._after_ok()
        if self._traits & Trait.DISCONNECTS and not reply.failed:
            self.connection = None
            self.pool.discard(connection)
            self.client.cut(reason="COMMIT or ROLLBACK with RELEASE")
            return
        self.settle()

    def settle(self) -> None:
        """Ask what must be known; then keep the connection or give it back."""
        session = self.session
        connection = self.connection
        assert connection is not None
        if session.pins & PinReason.KILL and not connection.targeted:
            session.pins &= ~PinReason.KILL
        # A connection that is kept for good answers for itself, once it has the session's own LAST_INSERT_ID().
        if not session.lasting_pins or (session.insert_id_moved and not session.insert_id_here):
            questions = questions_of(session)
            if questions:
                if self._slow_client:
                    # The reply is complete: what the client has not read of it yet must not hold up the answers.
                    self._slow_client = False
                    connection.read_again()
                self._settling = True
                self.begin(self._ask(connection, questions))
                return
        if session.reasons != self._logged_pins:
            self._log_pins(connection)
        if session.holds:
            connection.state = None
        else:
            self._give_back(connection)
        self._done()

    async def _ask(self, connection: DatabaseConnection, questions: list[Question]) -> None:
        """Settle with the answers. The client has its reply: a failure here is told with its next command."""
        try:
            if self._left is not None:
                await self._fetch_left(self._left)
            for (_, take), result in zip(
                questions, await connection.ask([packet for packet, _ in questions]), strict=True
            ):
                if result.err is not None:
                    raise BorrowError(result.err)
                take(result)
            if questions[0][0] in PROBES:
                # It leaves alone what the statement before it has left behind.
                connection.last_borrower = self
        except ConnectionLostError:
            settled = False
        except (BorrowError, ProtocolError) as error:
            settled = False
            self._lost = errors.STATE_LOST
            self.connection = None
            self.session.lost()
            if isinstance(error, BorrowError):
                self.pool.recycle(connection)
            else:
                self.pool.discard(connection)
        else:
            settled = True
        self._work = None
        self._settling = False
        if settled:
            self.settle()
        else:
            self._done()

    def _give_back(self, connection: DatabaseConnection) -> None:
        self.connection = None
        session = self.session
        connection.state = session.state
        self._last_connection = connection
        if session.insert_id_moved or session.remarks or session.reads_found_rows:
            self._leave(connection)
        elif self._left is not None and self._left.taken:
            self._left = None
        if self._slow_client:
            self._slow_client = False
            connection.read_again()
        if self._logged_pins:
            self._log_pins(connection)
        self.pool.give_back(connection)

    def _leave(self, connection: DatabaseConnection) -> None:
        """Give a connection back with something on it that this session may still ask for."""
        session = self.session
        if self._left is not None:
            self._left.outdated()
            if session.insert_id_moved:
                self._left.abandoned()
        connection.left = self._left = Left(session, connection)
        session.insert_id_moved = False

    def _log_pins(self, connection: DatabaseConnection) -> None:
        reasons = self.session.reasons
        new, ended = reasons & ~self._logged_pins, self._logged_pins & ~reasons
        self._logged_pins = reasons
        if ended:
            self.client.log.info(
                "The client session "
                + ("is still" if reasons else "is no longer")
                + f" pinned to the database connection [dbConnection={connection.thread_id}]. Ended: {explain(ended)}",
                backend=connection.thread_id,
            )
        if not new:
            return
        lasting = bool(self.session.lasting_pins)
        self.client.log.info(
            f"The client session was pinned to the database connection [dbConnection={connection.thread_id}] "
            + (f"{_TO_THE_END} " if lasting else "until its cause ends. ")
            + f"Reason: {explain(new)}",
            backend=connection.thread_id,
        )

    # -- uploads ------------------------------------------------------------------------------------------------------

    def upload(self, data: bytes) -> bytes | None:
        """Hand on a part of the client's file. Gives None until it has ended, then what came behind it.

        Raises ProtocolError for packets out of order.
        """
        reader, connection = self._upload, self.connection
        if reader is None or connection is None:
            # The database was lost meanwhile: the rest of the file goes nowhere.
            return self._swallow(data)
        out = reader.feed(data)
        if out:
            connection.write(out)
        if not reader.done:
            return None
        self._upload = None
        connection.reply.uploaded(reader.packets)
        return reader.rest

    def _swallow(self, data: bytes) -> bytes | None:
        reader = self._upload
        assert reader is not None
        reader.feed(data)
        if not reader.done:
            return None
        self._upload = None
        self.client.send_error(errors.LOST, reader.next_sequence)
        self._done()
        return reader.rest

    # -- what the session does besides running statements -------------------------------------------------------------

    def reset(self, then: Callable[[], None]) -> None:
        """Do what COM_RESET_CONNECTION does, then call `then`."""
        self.begin(self._reset(then))

    async def _reset(self, then: Callable[[], None]) -> None:
        connection, self.connection = self.connection, None
        self._lost = None
        if connection is not None:
            # Its locks are gone and its transaction is rolled back before the client hears of it.
            await self.pool.recycle(connection)
        self.session.reset()
        if connection is not None and self._logged_pins:
            self._log_pins(connection)
        self._forget_left()
        self._work = None
        then()
        self._done()

    def _forget_left(self) -> None:
        self._last_connection = None
        left, self._left = self._left, None
        if left is not None:
            left.abandoned()

    def enter_schema(self, then: Callable[[Err | None], None]) -> None:
        """Make sure that the session's schema exists and may be used; `then` is told why not."""
        session = self.session
        if not session.state.schema or session.state.schema in self.pool.schemas[self.key]:
            then(None)
            return
        self.busy = True
        # It may be done at once, and then leads on to the next work.
        self._work = work = Deferred.fromCoroutine(self.borrow())
        work.addCallbacks(lambda _: self._entered(then), lambda failure: self._not_entered(failure, then))
        work.addErrback(self._unforeseen)

    def _entered(self, then: Callable[[Err | None], None]) -> None:
        self._work = None
        assert self.connection is not None
        self._give_back(self.connection)
        self.busy = False
        then(None)

    def _not_entered(self, failure: Failure, then: Callable[[Err | None], None]) -> None:
        self._work = None
        self.busy = False
        connection, self.connection = self.connection, None
        if failure.check(CancelledError):
            return
        if connection is not None:
            self.pool.recycle(connection)
        if isinstance(failure.value, BorrowError):
            then(failure.value.err)
        else:
            if not failure.check(ConnectionLostError, *_BROKEN):
                log_unexpected(self.client.log, failure)
            then(errors.LOST)

    def _unforeseen(self, failure: Failure) -> None:
        log_unexpected(self.client.log, failure)
        self.client.fail("internal error")

    # -- ends ---------------------------------------------------------------------------------------------------------

    def connection_broken(self, why: str) -> None:
        """The connection on loan is gone."""
        connection, self.connection = self.connection, None
        session = self.session
        held = session.holds
        unsure = bool(session.doubtful or session.unread)
        session.lost()
        self.client.resume_input()
        self._logged_pins = PinReason.NONE
        if self._slow_client and connection is not None:
            self._slow_client = False
        if self._settling and (held or unsure):
            self._lost = errors.SESSION_LOST
        if self._work is not None or connection is None:
            return  # whoever asked the connection something is told by its failure
        if not self.busy:
            if held:
                self._lost = errors.SESSION_LOST
            return
        if self._upload is not None:
            return  # the client is told when its file has ended: until then it does not listen
        reply = connection.reply
        if reply.state == DONE:
            # The client has its reply, but the server said more than that, and so nothing was learned from it.
            if held or self._traits or reply.failed or reply.changes is not None or reply.status & IN_TRANSACTION:
                self._lost = errors.STATE_LOST
            self._done()
            return
        if reply.failed:
            # The error for a refused upload was the client's last; of what the server went on to say it heard nothing.
            self._lost = errors.STATE_LOST
            self._done()
            return
        if not reply.at_boundary:
            self.client.fail("the database was lost in the middle of a packet")
            return
        self.client.log.warning("database lost during a statement", backend=connection.thread_id, reason=why)
        self.client.send_error(errors.LOST, reply.next_sequence)
        self._done()

    def interrupt(self) -> DatabaseConnection | None:
        """End a command that waits for a connection; give the connection of one that only the server can end.

        None also where nothing is under way, or where the client's command has not been sent yet: a KILL QUERY that
        comes a moment before its statement has no effect on a server either.
        """
        if self._waiting is not None:
            self.pool.forget(self)
            self.refused(errors.INTERRUPTED)
        elif self._borrowing:
            work, self._work = self._work, None
            assert work is not None
            work.cancel()
            connection, self.connection = self.connection, None
            if connection is not None:
                self.pool.discard(connection)
            self._refuse(errors.INTERRUPTED)
        elif self.busy and self._work is None:
            return self.connection
        return None

    def keep(self, connection: DatabaseConnection) -> None:
        """Keep the connection until `release`: a KILL QUERY for it is on its way, and must not hit another session."""
        connection.targeted += 1
        self.session.pins |= PinReason.KILL
        self._logged_pins |= PinReason.KILL

    def release(self, connection: DatabaseConnection) -> None:
        """End one `keep`. A command that is under way ends it with its reply."""
        connection.targeted -= 1
        if not connection.targeted and self.connection is connection and not self.busy:
            self.busy = True
            self.settle()

    def lost_meanwhile(self) -> None:
        """The held connection broke while the proxy did something else for the client: tell with the next command."""
        self._lost = errors.SESSION_LOST

    def client_lost(self, *, kill: bool = False) -> None:
        """The client is gone, or becomes another user: leave nothing of it behind.

        `kill`: nobody wants the statement that may be under way, so the server is told to stop it.
        """
        work, self._work = self._work, None
        connection, self.connection = self.connection, None
        if work is not None:
            work.cancel()
        if self._waiting is not None:
            self.pool.forget(self)
        self._forget_left()
        if connection is None or connection.lost:
            return
        connection.borrower = None
        if self._slow_client:
            connection.read_again()
        if self.busy and not self._settling:
            # In mid-reply, or while its state was being changed: nothing is known of it.
            if kill and work is None:
                self.pool.abandon(connection)
            else:
                self.pool.discard(connection)
        else:
            self.pool.recycle(connection)

    # -- back-pressure ------------------------------------------------------------------------------------------------

    def client_slow(self) -> None:
        """The client does not take its reply fast enough: stop reading it from the database."""
        if self.connection is not None:
            self._slow_client = True
            self.connection.stop_reading()

    def client_caught_up(self) -> None:
        """Go on."""
        if self._slow_client:
            self._slow_client = False
            if self.connection is not None:
                self.connection.read_again()

    def pause(self) -> None:
        """The database does not take the client's command fast enough."""
        self.client.hold_input()

    def resume(self) -> None:
        """Go on."""
        self.client.resume_input()
