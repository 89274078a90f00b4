"""All checks of one target."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.backend.connector import CONNECT_TIMEOUT, Connector
from rdsproxy.backend.login import LoginError
from rdsproxy.config import Config
from rdsproxy.doctor.capacity import check_capacity
from rdsproxy.doctor.database_tls import check_offer, check_refused, check_spoken
from rdsproxy.doctor.finding import Finding, Level, fail
from rdsproxy.doctor.reaching import check_reached, is_denial, reason_of, remedy_of
from rdsproxy.doctor.topology import check_health, check_replication
from rdsproxy.doctor.users import Seen, check_user
from rdsproxy.interfaces import ICredentialProvider
from rdsproxy.protocol.errors import AuthenticationError
from rdsproxy.protocol.handshake import Greeting
from rdsproxy.topology.aurora_probe import AuroraProbe
from rdsproxy.topology.health import Health, Reason, State
from rdsproxy.topology.probe import FAILURES, Probe
from rdsproxy.topology.target import Place

_IAM_DENIES: Final = (
    "create the user with AWSAuthenticationPlugin (rdsproxy grants), allow rds-db:connect for it (rdsproxy policy), "
    "and let host and AWS_REGION be the database's own"
)


class TargetExamination:
    """Looks at one target: TCP, TLS, each user, its capacity, its role."""

    def __init__(
        self,
        config: Config,
        place: Place,
        connector: Connector,
        users: ICredentialProvider,
        monitors: ICredentialProvider,
        reactor: Any,
    ) -> None:
        self.place = place
        self.health = Health(State.UNAVAILABLE, reason=Reason.UNREACHABLE)
        """As the monitor sees it."""
        self.findings: list[Finding] = []
        self._config = config
        self._connector = connector
        self._users = users
        self._monitors = monitors
        self._reactor = reactor
        named = "" if place.name == place.host else f" ({place.name})"
        self._subject = f"target {place}{named}"
        self._tls = f"{self._subject}, TLS"
        self._knows_tls = False
        self._seen: list[Seen] = []
        self._by_token = config.proxy.default_auth_scheme == "IAM_AUTH"
        self._looker: str | None = None
        """Of those who may look at it the first that was let in."""

    async def run(self) -> None:
        """Do all checks, one after the other: a later one makes no sense where an earlier one fails."""
        finding, greeting = await check_reached(self._subject, self.place, self._connector)
        self.findings.append(finding)
        if greeting is None:
            return
        offer = check_offer(self._tls, self._config.target_group, greeting, self.place.host)
        if offer is not None:
            self._knows_tls = True
            self.findings.append(offer)
            if offer.level is Level.FAIL:
                return
        if not await self._try_users(greeting):
            return
        if self._seen:
            subject = f"{self._subject}, max_connections"
            self.findings.append(check_capacity(subject, self._config.target_group, self._seen))
        if self._monitors.usernames():
            await self._look()

    async def _try_users(self, greeting: Greeting) -> bool:
        """Log in each user; tell whether the server can be talked to at all."""
        init_query = self._config.proxy.init_query
        logins: list[tuple[ICredentialProvider, str, str | None]]
        logins = [(self._users, name, init_query) for name in self._users.usernames()]
        if self._monitors is not self._users:
            logins += [(self._monitors, name, None) for name in self._monitors.usernames()]
        for users, name, query in logins:
            subject = f"{self._subject}, {'monitor' if query is None else 'user'} {name}"
            try:
                connection = await self._connector.log_in_as(users, name, _nothing)
            except FAILURES as error:
                refused = None if self._knows_tls else check_refused(self._tls, error)
                remedy = _IAM_DENIES if self._by_token and is_denial(error) else remedy_of(error)
                self.findings.append(refused or fail(subject, reason_of(error), remedy))
                if isinstance(error, LoginError | AuthenticationError):
                    continue  # the server's answer to this user
                return False
            if not self._knows_tls:
                self._knows_tls = True
                self.findings.append(check_spoken(self._tls, self._config.target_group, connection))
            if users is self._monitors:
                self._looker = self._looker or name
            try:
                asking = Deferred.fromCoroutine(check_user(subject, connection, greeting, query))
                found, seen = await asking.addTimeout(CONNECT_TIMEOUT, self._reactor)
            except TimeoutError:
                self.findings.append(fail(subject, "logs in, but gets no answer in time", "is the server overloaded?"))
                return False
            finally:
                connection.discard()
            self.findings += found
            if seen is not None and query is not None:
                self._seen.append(seen)
        return True

    async def _look(self) -> None:
        """Look as the monitor does."""
        topology = self._config.target_group.topology
        make_probe = AuroraProbe if topology.kind == "aurora" or topology.cluster is not None else Probe
        probe = make_probe(self._connector, self._monitors, topology.check_timeout, self._reactor)
        try:
            self.health = await probe.look()
        finally:
            probe.stop()
        subject = f"{self._subject}, role"
        self.findings.append(check_health(subject, self._config, self.place, self.health))
        if self._looker is not None and self.health.cluster is None:
            subject = f"{self._subject}, monitor {self._looker}"
            found = await check_replication(subject, self._config, self._connector, self._monitors, self._looker)
            self.findings += found


def _nothing(connection: DatabaseConnection, why: str) -> None:
    pass
