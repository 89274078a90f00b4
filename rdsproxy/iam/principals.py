"""Which AWS principal may log in as which database users."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_SESSION: Final = re.compile(r"arn:([a-z-]+):sts::([0-9]{12}):assumed-role/([^/]+)/[^/]+")
_ROLE: Final = re.compile(r"arn:([a-z-]+):iam::([0-9]{12}):role/(?:.*/)?([^/]+)")


def principal_of(arn: str) -> str:
    """Give the principal behind an ARN: of a role's session the role, and of a role its ARN without the path.

    A session does not tell the path of its role. No two roles of an account have the same name, whatever their paths.
    """
    role = _SESSION.fullmatch(arn) or _ROLE.fullmatch(arn)
    return arn if role is None else "arn:{}:iam::{}:role/{}".format(*role.groups())


class Principals:
    """The rules: pairs of an ARN and the database users that it may log in as."""

    def __init__(self, rules: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._users: dict[str, set[str]] = {}
        for arn, users in rules:
            self._users.setdefault(principal_of(arn), set()).update(users)

    def allow(self, arn: str, user: str) -> bool:
        """Tell whether the caller with this ARN may be this database user."""
        return user in self._users.get(principal_of(arn), ())
