"""Whether a target has room for the connections that the proxy may open."""

from __future__ import annotations

from collections.abc import Sequence

from rdsproxy.config import TargetGroupSettings
from rdsproxy.doctor.finding import Finding, ok, warn
from rdsproxy.doctor.users import Seen
from rdsproxy.topology.building import limits_of


def check_capacity(subject: str, settings: TargetGroupSettings, seen: Sequence[Seen]) -> Finding:
    """Compare the proxy's share with what others leave. `seen` is what each of its users saw, one at least.

    Connections of the proxy's own users count as the proxy's, whoever has them.
    """
    most = seen[-1].facts.max_connections
    share = limits_of(settings).connections(most)
    own = sum(one.own for one in seen)
    # Each user sees its own connections, and those of the other users among the others'.
    others = max(0, seen[-1].others - (own - seen[-1].own))
    found = f"the proxy opens up to {share} of its max_connections, {most}; others have {others} now"
    left = most - others - 1
    if share > left:
        # One is the monitor's.
        remedy = f"set max_connections = {max(1, left)} in [target_group], or raise it there: beyond is error 1040"
        return warn(subject, found, remedy)
    if share < 2:
        return warn(subject, found, "raise it: all clients take turns with a single connection")
    return ok(subject, found)
