"""What must be asked of the server about a session before its connection may serve another."""

from __future__ import annotations

from typing import Final

from rdsproxy.protocol import commands
from rdsproxy.protocol.results import Column, Result, Row, number
from rdsproxy.session.answers import take_definitions, take_doubles, take_locks, take_role, take_user_variables
from rdsproxy.session.calls import ask_definition
from rdsproxy.session.holdings import ask_locks
from rdsproxy.session.leaving import EvenAnError, Question, ask_diagnostics
from rdsproxy.session.pinning import PinReason
from rdsproxy.session.roles import ASK_ROLE
from rdsproxy.session.session import IN_TRANSACTION, Session
from rdsproxy.session.statements import Trait
from rdsproxy.session.user_variables import ask_doubles, ask_types, ask_values

_ENDED_BY_A_TRANSACTION: Final[int] = PinReason.LOCKED_TABLES | PinReason.NEXT_TRANSACTION
_WITHOUT_ANOTHER: Final[int] = _ENDED_BY_A_TRANSACTION | PinReason.XA_TRANSACTION

# An ERR tells neither status flags nor trackers. The reply to this does, and leaves the diagnostics as they are (a
# COM_PING would not do: MariaDB puts no trackers into its reply).
PROBE: Final = commands.query(b"SHOW WARNINGS LIMIT 0")

# MariaDB holds back what was tracked before an ERR until a later statement changes something that is tracked too. A
# transaction does, without adding a change of its own that would look like the failed statement's. In an open one
# nothing is begun: there the statements themselves are enough. This works under every sql_mode.
PROBE_OF_MARIADB: Final = commands.query(
    b"BEGIN NOT ATOMIC IF @@in_transaction = 0 THEN START TRANSACTION; COMMIT AND NO CHAIN NO RELEASE; END IF; END"
)
PROBES: Final = frozenset((PROBE, PROBE_OF_MARIADB))

ASK_INSERT_ID: Final = commands.query(b"SELECT LAST_INSERT_ID() LIMIT 1")


def questions_of(session: Session) -> list[Question]:
    """Give what to ask now, all in one write. The answers may lead to more questions."""

    def told_insert_id(row: Row) -> None:
        session.answered_insert_id(number(row[0]))

    if session.unprobed:
        return [_probe(session)]
    questions: list[Question] = []
    if session.doubtful:
        names = sorted(session.doubtful)

        def told_variables(result: Result) -> None:
            session.answered({name: value or b"" for name, value in zip(names, result.row(len(names)), strict=True)})

        sql = b"SELECT " + b", ".join(b"@@SESSION." + name for name in names) + b" LIMIT 1"
        questions.append((commands.query(sql), told_variables))
    if session.must_prove_calls:
        questions += _calls(session)
    if session.unread_role:
        questions.append((ASK_ROLE, lambda result: take_role(session, result.row(1)[0])))
    if session.tracking.in_force:
        questions.append(session.tracking.question(session))
    if session.must_prove_locks:
        questions.append(_locks(session))
    elif session.must_read:
        questions += _user_variables(session)
    elif session.insert_id_moved and session.holds and not session.insert_id_here:
        questions.append((ASK_INSERT_ID, lambda result: told_insert_id(result.row(1))))
    if questions:
        # They end what the statement has left.
        questions[:0] = ask_diagnostics(session, lambda: session.diagnostics, found_rows=session.must_ask_found_rows)
    return questions


def _probe(session: Session) -> Question:
    # The next transaction, and the end of the locks, are the client's to make; both tell what was held back. In an
    # XA transaction that was rolled back none can begin.
    quiet = (
        session.states.quiet_errors and not session.pins & _WITHOUT_ANOTHER and not session.state.transaction
    )

    def probed(result: Result) -> None:
        session.unprobed = False
        session.learn(result.status, result.changes, Trait.NONE)
        telling = session.tracking.telling
        if telling is not None:
            # On a connection of its own the client is told with a later statement; not of the probe's own transaction.
            for block in result.changes:
                telling.hold(block, transactions=not quiet or bool(result.status & IN_TRANSACTION))

    return (PROBE_OF_MARIADB if quiet else PROBE), probed


def _calls(session: Session) -> list[Question]:
    names = sorted(session.calls.before)
    results: dict[bytes, Result] = {}

    def told(name: bytes, result: Result) -> None:
        results[name] = result
        if len(results) == len(names):
            take_definitions(session, results)

    return [(ask_definition(name), EvenAnError(told, name)) for name in names]


def _locks(session: Session) -> Question:
    names = sorted(session.holdings.of(PinReason.USER_LOCK))

    def told_locks(result: Result) -> None:
        row = result.row(len(names))
        take_locks(session, frozenset(name for name, held in zip(names, row, strict=True) if held == b"0"))

    return ask_locks(names), told_locks


def _user_variables(session: Session) -> list[Question]:
    if session.unproved:
        doubles = dict(session.unproved)

        def told_doubles(result: Result) -> None:
            row = result.row(len(doubles))
            take_doubles(session, {name: same == b"1" for name, same in zip(doubles, row, strict=True)})

        return [(ask_doubles(doubles), told_doubles)]
    names = sorted(session.unread | session.unwritable)
    columns: dict[bytes, Column] = {}

    def told_types(result: Result) -> None:
        columns.update(zip(names, result.columns(len(names)), strict=True))

    def told_values(result: Result) -> None:
        row = result.row(4 * len(names))
        take_user_variables(session, columns, {name: row[4 * i : 4 * i + 4] for i, name in enumerate(names)})

    return [(ask_types(names), told_types), (ask_values(names), told_values)]
