"""Run a script on both sides and find the first answer that differs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.differential.client import Result, Rows, Session, tracks
from tests.differential.commands import Query, Step
from tests.differential.holding import Holder
from tests.differential.known import NOT_BEHIND_A_RESET, NOT_IF_TRACKED
from tests.differential.same import same
from tests.differential.scripts import Script
from tests.differential.world import SCHEMAS, build, remove, renew
from tests.integration.packets import Packets
from tests.integration.proxy import NATIVE, Proxy
from tests.servers import DatabaseServer

CONNECTIONS = 2
"""Database connections of the proxy."""

Played = list[tuple[Step, tuple[Result, ...]]]
"""Steps as they were run, and their answers."""


@contextmanager
def comparing(server: DatabaseServer, folder: Path, *, compiled: bool = True) -> Iterator[Comparison]:
    """Run a proxy before a server that runs, with its files in ``folder``; ``compiled``: see Proxy."""
    server.create_user(NATIVE.name, NATIVE.password, grants=["ALL PRIVILEGES ON *.*"])
    build(server, f"'{NATIVE.name}'@'%'")
    with Proxy(
        server,
        folder,
        max_connections=CONNECTIONS,
        accounts=[NATIVE],
        # No script has more waiting than there are connections, so nobody waits for long.
        target_group={"connection_borrow_timeout": 2},
        compiled=compiled,
    ) as proxy:
        yield Comparison(server, proxy)
    remove(server, f"'{NATIVE.name}'@'%'")


class Comparison:
    """Runs scripts on a server and through a proxy before it. ``statements`` counts what was run on each side."""

    def __init__(self, server: DatabaseServer, proxy: Proxy) -> None:
        self.server = server
        self._proxy = proxy
        self.statements = 0

    def check(self, script: Script) -> None:
        """Run a script on both sides; AssertionError shows the script and the first difference."""
        sessions = sorted({step.session for step in script})
        if not sessions:
            return
        renew(self.server, sessions)
        with _Clients(self.server.host, self.server.port, sessions) as clients:
            played = list(_play(script, clients))
        renew(self.server, sessions)
        self._like_new()
        self.statements += len(played)
        with _Clients(self._proxy.host, self._proxy.port, sessions) as clients:
            for position, (step, expected) in enumerate(played):
                found = clients[step.session].run(step.command)
                if not same(expected, found):
                    raise AssertionError(_report(played[: position + 1], found))

    def _like_new(self) -> None:
        """Have the proxy reset its connections, which serve other scripts too: each script is to begin alike."""
        clients = [Packets(self._proxy.host, self._proxy.port, NATIVE, database=None) for _ in range(CONNECTIONS)]
        for client in clients:
            client.query("BEGIN")
        # Whoever is the first to read these may get error 1105 (docs/architecture.md). That is this client.
        for sql in ("DO 1", "SELECT FOUND_ROWS()", "GET DIAGNOSTICS @n = NUMBER"):
            clients[0].query(sql)
        for client in clients:
            client.close()


class _Clients(ExitStack):
    def __init__(self, host: str, port: int, sessions: list[int]) -> None:
        super().__init__()
        self._of: dict[int, Session] = {}
        for number in sessions:
            client = Session(host, port, NATIVE, number, SCHEMAS[number % 3 == 0])
            self._of[number] = self.enter_context(closing(client))
            # FOUND_ROWS() of a new connection to MariaDB is that of one which has ended.
            client.run(Query("begin", "SELECT 1"))

    def __getitem__(self, number: int) -> Session:
        return self._of[number]


def _play(script: Script, clients: _Clients) -> Iterator[tuple[Step, tuple[Result, ...]]]:
    """Run a script on dedicated connections; give the steps that the proxy can be asked for too."""
    holders = {step.session: Holder(step.session) for step in script}

    def run(step: Step) -> tuple[Step, tuple[Result, ...]]:
        results = clients[step.session].run(step.command)
        holders[step.session].ran(step.command, results)
        return step, results

    for position, step in enumerate(script):
        own = holders[step.session]
        sql = step.command.sql if isinstance(step.command, Query) else ""
        if (own.was_reset and sql in NOT_BEHIND_A_RESET) or (tracks(step.session) and sql in NOT_IF_TRACKED):
            continue
        others = [number for number, other in holders.items() if other.holds and other is not own]
        # Two of them: a statement came to hold a connection unexpectedly.
        if len(others) > 1 or own.may_come_to_hold(step.command):
            for number in others:
                for command in holders[number].let_go(commit=position % 2 == 0):
                    yield run(Step(number, command))
        yield run(step)


def _report(played: Played, found: tuple[Result, ...]) -> str:
    _, expected = played[-1]
    lines = ["the answer to the last statement differs", *(f"    {step}" for step, _ in played)]
    for number, (one, other) in enumerate(zip(_padded(expected, found), _padded(found, expected), strict=True)):
        if one != other:
            lines += [f"result {number + 1}, directly:", f"    {_show(one)}"]
            lines += ["through the proxy:", f"    {_show(other)}"]
            break
    return "\n".join(lines)


def _padded(results: tuple[Result, ...], others: tuple[Result, ...]) -> list[Result | None]:
    return [*results, *[None] * (len(others) - len(results))]


def _show(result: Result | None) -> str:
    if isinstance(result, Rows):
        parts = [f"column {column!r}" for column in result.columns] + [f"row {row!r}" for row in result.rows]
        return "\n    ".join([*parts, f"end {result.end!r}"])
    return repr(result)
