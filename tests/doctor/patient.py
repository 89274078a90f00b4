"""A configuration to examine, and what is found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdsproxy.doctor.finding import Finding, Level
from tests import planted
from tests.servers import DatabaseServer, User

LISTEN = "tcp:0:interface=127.0.0.1"


def secret(folder: Path, user: User) -> str:
    """Write the secret of a user; give its name in a configuration."""
    planted.plant(user.password)
    file = folder / f"{user.name}.json"
    file.touch(0o600)
    file.write_text(json.dumps({"username": user.name, "password": user.password}))
    return f"file:{file}"


def target(server: DatabaseServer, **more: object) -> dict[str, object]:
    """Give the target that `server` is."""
    return {"host": server.host, "port": server.port, **more}


def configuration(
    secrets: Sequence[str | Mapping[str, object]],
    targets: Sequence[Mapping[str, object]],
    *,
    group: Mapping[str, object] | None = None,
    listen: Sequence[str] = (LISTEN,),
    endpoints: Sequence[Mapping[str, object]] = (),
    **proxy: object,
) -> dict[str, Any]:
    """Give a configuration of these secrets and targets; `group` and `proxy` are more of these sections."""
    return {
        "proxy": {
            "endpoints": [{"listen": list(listen)}, *endpoints],
            "auth": [{"secret": one} if isinstance(one, str) else one for one in secrets],
            **proxy,
        },
        "target_group": {"targets": targets, "max_connections": 5, **(group or {})},
    }


class Report:
    """What was found, by the end of each subject."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = findings

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))

    def bad(self) -> list[Finding]:
        """Give what is not well."""
        return [finding for finding in self.findings if finding.level is not Level.OK]

    def failures(self) -> list[Finding]:
        """Give what does not work."""
        return [finding for finding in self.findings if finding.level is Level.FAIL]

    def of(self, subject: str) -> Finding:
        """Give the one finding whose subject ends so."""
        found = [finding for finding in self.findings if finding.subject.endswith(subject)]
        assert len(found) == 1, str(self)
        return found[0]
