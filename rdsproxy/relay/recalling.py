"""Diagnostics that the session's connections know: asked for before something else runs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdsproxy.session.leaving import ask_diagnostics

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


async def fetch_left(relay: Relay) -> None:
    """Wait until what the session has left elsewhere is known. Raises as `Route.when_open`."""
    if relay.behind.left is None:
        return
    if not relay.route.is_open:
        # What is left on a connection to a target that may be lost is asked for when that is decided.
        await relay.route.when_open()
    await relay.behind.fetch()


async def keep_diagnostics(relay: Relay, *, found_rows: bool) -> None:
    """Learn what the connections know of the session's diagnostics, before something else runs there.

    `found_rows`: FOUND_ROWS() is wanted for certain. Raises ConnectionLostError.
    """
    session = relay.session
    diagnostics = session.diagnostics
    await fetch_left(relay)
    connection = relay.connection
    if connection is None:
        return
    found_rows = session.must_ask_found_rows or (
        found_rows and diagnostics.found_rows is None and diagnostics.found_rows_here
    )
    questions = ask_diagnostics(session, lambda: session.diagnostics, found_rows=found_rows)
    if questions:
        results = await connection.ask([packet for packet, _ in questions])
        for (_, take), result in zip(questions, results, strict=True):
            if result.err is None:
                take(result)
        if len(questions) > 1:
            diagnostics.found_rows_here = False
