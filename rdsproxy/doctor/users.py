"""Whether a user is let in at a target, what its connections can be set to, and what it may do there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.backend.login import ask, setup_packets
from rdsproxy.backend.target import Facts, learn_facts
from rdsproxy.doctor.finding import Finding, fail, ok, warn
from rdsproxy.doctor.reaching import reason_of, remedy_of
from rdsproxy.protocol import commands
from rdsproxy.protocol.handshake import Greeting
from rdsproxy.protocol.results import Result, number
from rdsproxy.protocol.telling import EVERYTHING, Settings
from rdsproxy.session import roles
from rdsproxy.session.tracking import ASK_SETTINGS, read_settings
from rdsproxy.topology.probe import FAILURES

MIGHTY: Final = frozenset(
    ("ALL PRIVILEGES", "SUPER", "CONNECTION_ADMIN", "CONNECTION ADMIN", "READ_ONLY ADMIN", "READ ONLY ADMIN")
)
"""Each of these gets around ``read_only`` or ``max_connections``."""

_GLOBAL: Final = re.compile(r"GRANT (.*) ON \*\.\* TO ")


@dataclass(frozen=True)
class Seen:
    """What a user's login has shown of the server."""

    facts: Facts
    others: int
    """Connections of others than this user, and other than this one."""
    own: int
    """Other connections of this user: of the proxy, if it runs."""


async def check_user(
    subject: str, connection: DatabaseConnection, greeting: Greeting, init_query: str | None
) -> tuple[list[Finding], Seen | None]:
    """Look at a user by a connection that has just logged in, and that is of no further use.

    `init_query`: that of the proxy's connections; None: this user only looks at the targets.
    """
    try:
        facts = await learn_facts(connection, greeting)
        findings = [] if init_query is None else await _check_setup(subject, connection, facts, init_query)
        findings += await _check_privileges(subject, connection, facts)
        seen = await _count(connection, facts)
    except FAILURES as error:
        return [fail(subject, f"logs in, but {reason_of(error)}", remedy_of(error))], None
    return findings or [ok(subject, "logs in" if init_query is None else "logs in, session trackers work")], seen


async def _check_setup(subject: str, connection: DatabaseConnection, facts: Facts, init_query: str) -> list[Finding]:
    """Make the connection what the pool's are."""
    packets = setup_packets(facts.tracked, init_query)
    *results, settings = await connection.ask([*packets, ASK_SETTINGS])
    names = ["SET NAMES", "init_query", "the settings of the session trackers"] if init_query else ["its settings"]
    for name, result in zip(names, results, strict=False):
        if result.err is not None:
            remedy = "correct init_query in [proxy]" if name == "init_query" else "the server cannot be used"
            # Not the server's text, which quotes the statement.
            return [fail(subject, f"logs in, but {name} failed: error {result.err.code}", remedy)]
    return check_trackers(subject, read_settings(settings))


def check_trackers(subject: str, settings: Settings) -> list[Finding]:
    """Say whether the trackers, as they are after they were set, tell all."""
    if settings.system_variables and settings[1:] == EVERYTHING[1:]:
        return []
    remedy = "is there another proxy in between, which keeps SET session_track_... from the server?"
    return [fail(subject, "logs in, but its session trackers cannot be set", remedy)]


async def _check_privileges(subject: str, connection: DatabaseConnection, facts: Facts) -> list[Finding]:
    query = b"SHOW GRANTS"
    if facts.knows_roles and not facts.is_mariadb:
        # MariaDB shows those of the active role by itself.
        (current,) = await ask(connection, [roles.ASK_ROLE])
        active = roles.clause(current.row(1)[0], many=True)
        if active not in (None, roles.NONE):
            query = b"SHOW GRANTS FOR CURRENT_USER() USING " + active
    (grants,) = await ask(connection, [commands.query(query)])
    held = mighty_in(grants)
    if not held:
        return []
    return [
        warn(subject, f"logs in, but has {', '.join(held)}: it writes on read-only servers, or is let in beyond "
             "max_connections", "revoke that: the proxy needs nothing of it")
    ]


def mighty_in(grants: Result) -> list[str]:
    """Give those of `MIGHTY` that are in the answer to SHOW GRANTS. Nothing else of it is to be shown: MariaDB has the
    password's hash there.
    """
    held: set[str] = set()
    for (line,) in grants.table(1):
        found = _GLOBAL.match((line or b"").decode(errors="replace"))
        if found is not None:
            held |= MIGHTY.intersection(re.split(", ?", found[1]))
    return sorted(held)


async def _count(connection: DatabaseConnection, facts: Facts) -> Seen:
    user = connection.key.user.encode()
    processes, connected = await ask(
        connection,
        [commands.query(b"SHOW PROCESSLIST"), commands.query(b"SHOW GLOBAL STATUS LIKE 'Threads_connected'")],
    )
    own = sum(1 for process in processes.rows if process[1] == user)
    return Seen(facts, max(0, number(connected.row(2)[1]) - own), max(0, own - 1))
