"""A line in the log for each pin and for its end, in RDS Proxy's words."""

from __future__ import annotations

from typing import Final

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.relay.client import Client
from rdsproxy.session.pinning import PinReason, explain, reasons_in
from rdsproxy.session.session import Session

_TO_THE_END: Final = (
    "for the remainder of the session. The proxy can't reuse this connection until the session ends."
)


class PinLog:
    """Knows which pins of a session have been logged, and counts them."""

    __slots__ = ("_client", "_session", "logged")

    def __init__(self, client: Client, session: Session) -> None:
        self._client = client
        self._session = session
        self.logged: int = PinReason.NONE

    def note(self, connection: DatabaseConnection) -> None:
        """Log what has changed since the last time."""
        session = self._session
        reasons = session.reasons
        new, ended = reasons & ~self.logged, self.logged & ~reasons
        self.logged = reasons
        if ended:
            self._client.log.info(
                "The client session "
                + ("is still" if reasons else "is no longer")
                + f" pinned to the database connection [dbConnection={connection.thread_id}]. Ended: {explain(ended)}",
                backend=connection.thread_id,
            )
        if not new:
            return
        connection.pool.counts.pins.update(reasons_in(new))
        lasting = bool(session.lasting_pins)
        self._client.log.info(
            f"The client session was pinned to the database connection [dbConnection={connection.thread_id}] "
            + (f"{_TO_THE_END} " if lasting else "until its cause ends. ")
            + f"Reason: {explain(new)}",
            backend=connection.thread_id,
        )
