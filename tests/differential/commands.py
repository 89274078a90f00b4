"""What a script is made of: the commands of one client, as values that print as what they do."""

from __future__ import annotations

from dataclasses import dataclass

Value = int | float | str | bytes | None
"""A parameter of a prepared statement."""


@dataclass(frozen=True)
class Command:
    """A command. Its ``kind`` is the name of its place in the catalogue, for what is left out and why."""

    kind: str


@dataclass(frozen=True)
class Query(Command):
    """COM_QUERY."""

    sql: str

    def __str__(self) -> str:
        return self.sql


@dataclass(frozen=True)
class InitDb(Command):
    """COM_INIT_DB."""

    schema: str

    def __str__(self) -> str:
        return f"COM_INIT_DB {self.schema}"


@dataclass(frozen=True)
class Plain(Command):
    """A command that is its code and some bytes, answered by one packet."""

    name: str
    code: int
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.name} {self.body.hex()}".rstrip()


RESET = Plain("reset", "COM_RESET_CONNECTION", 0x1F)


@dataclass(frozen=True)
class ChangeUser(Command):
    """COM_CHANGE_USER to the same user."""

    schema: str
    collation: int

    def __str__(self) -> str:
        return f"COM_CHANGE_USER with schema {self.schema!r}, collation {self.collation}"


@dataclass(frozen=True)
class Prepare(Command):
    """COM_STMT_PREPARE, after a COM_STMT_CLOSE of what was in this ``slot``."""

    slot: int
    sql: str

    def __str__(self) -> str:
        return f"COM_STMT_PREPARE {self.slot}: {self.sql}"


@dataclass(frozen=True)
class Execute(Command):
    """COM_STMT_EXECUTE. ``values`` are repeated as often as needed.

    ``bind``: send the parameters' types even if they are those of the last time.
    """

    slot: int
    values: tuple[Value, ...]
    cursor: bool
    bind: bool

    def __str__(self) -> str:
        more = " with a cursor" * self.cursor + " with types" * self.bind
        return f"COM_STMT_EXECUTE {self.slot} {self.values}{more}"


@dataclass(frozen=True)
class Bulk(Command):
    """COM_STMT_BULK_EXECUTE of MariaDB's: an execution with each of ``rows``, which are as ``Execute``'s values."""

    slot: int
    rows: tuple[tuple[Value, ...], ...]
    bind: bool

    def __str__(self) -> str:
        return f"COM_STMT_BULK_EXECUTE {self.slot} {self.rows}{' with types' * self.bind}"


@dataclass(frozen=True)
class LongData(Command):
    """COM_STMT_SEND_LONG_DATA for the first parameter; if there is none, nothing is sent."""

    slot: int
    data: bytes

    def __str__(self) -> str:
        return f"COM_STMT_SEND_LONG_DATA {self.slot} {self.data!r}"


@dataclass(frozen=True)
class Fetch(Command):
    """COM_STMT_FETCH."""

    slot: int
    rows: int

    def __str__(self) -> str:
        return f"COM_STMT_FETCH {self.slot}, {self.rows} rows"


@dataclass(frozen=True)
class ResetStatement(Command):
    """COM_STMT_RESET."""

    slot: int

    def __str__(self) -> str:
        return f"COM_STMT_RESET {self.slot}"


@dataclass(frozen=True)
class CloseStatement(Command):
    """COM_STMT_CLOSE."""

    slot: int

    def __str__(self) -> str:
        return f"COM_STMT_CLOSE {self.slot}"


@dataclass(frozen=True)
class Step:
    """A command and the number of the session that runs it."""

    session: int
    command: Command

    def __str__(self) -> str:
        return f"{self.session}: {self.command}"
