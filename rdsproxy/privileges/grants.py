"""The SQL that makes the database's users for a configuration, with no more privileges than they need.

One text for MySQL and MariaDB: what is for one of them is in a comment that the other one passes over ("Comments" of
the MySQL manual; "Comment Syntax" of MariaDB's, which knows the versions 50700 to 99999 as MySQL's).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rdsproxy.config import Config
from rdsproxy.privileges.needs import sees_replication
from rdsproxy.privileges.users import Named, monitor_of, users_of

_SEE_REPLICATION: Final = "/*!50700 REPLICATION CLIENT */ /*M!100509 REPLICA MONITOR */"


def grants_of(config: Config) -> Iterator[str]:
    """Give the lines. Passwords are placeholders: the text is no SQL until each is replaced."""
    users, monitor = users_of(config), monitor_of(config)
    yield "-- Replace each <...>, and take out users that are there already. Passwords are text in quotes."
    if any(user.name is None for user in users) or (monitor is not None and monitor.name is None):
        yield "-- Names in <> are those in secrets that were not asked for, or cannot be read; in quotes, too."
    for user in users:
        yield ""
        yield "-- Its clients' statements need what they need; the proxy itself nothing, and least of all on *.*"
        yield _create(config, user)
        yield f"-- GRANT SELECT, INSERT, UPDATE, DELETE ON <schema>.* TO {_account(user)};"
    yield ""
    if monitor is None:
        yield "-- It looks at the targets too: a user of its own is better (monitor_secret in [target_group.topology])"
    else:
        yield "-- It looks at the targets: which are read-only, and how their replication is. No schema is its business"
        if monitor.name is None or monitor.name not in [user.name for user in users]:
            yield _create(config, monitor)
    if sees_replication(config):
        yield f"GRANT {_SEE_REPLICATION} ON *.* TO {_account(monitor or users[0])};"


def _create(config: Config, user: Named) -> str:
    if config.proxy.default_auth_scheme == "IAM_AUTH":
        proof = "IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'"
    else:
        proof = f"IDENTIFIED BY <password of {user.secret}>"
    encrypted = "" if config.target_group.tls.mode in ("DISABLED", "PREFERRED") else " REQUIRE SSL"
    return f"CREATE USER {_account(user)} {proof}{encrypted};"


def _account(user: Named) -> str:
    if user.name is None:
        return f"{user.name_or_placeholder}@'%'"
    quoted = user.name.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'@'%'"
