"""Tokens proven by STS: it says who has signed them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from rdsproxy.iam.caller_identity import CallerIdentity
from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.principals import Principals
from rdsproxy.iam.remembering import Claim
from rdsproxy.iam.sts_token import StsToken, binding, parse_sts_token, sts_hosts


class StsProver:
    """Has STS, as it is known in `region`, answer tokens for the proxy called `host`."""

    def __init__(
        self, sts: CallerIdentity, principals: Principals, host: str, region: str, clock: Callable[[], float]
    ) -> None:
        self._sts = sts
        self._principals = principals
        self._host = host
        self._hosts = sts_hosts(region)
        self._clock = clock

    def claim(self, password: bytes, user: str) -> Claim:
        """Look at its form."""
        token = parse_sts_token(password)
        if token.host not in self._hosts:
            raise TokenError("its host is not STS of this region")
        if token.request.region != self._hosts[token.host]:
            raise TokenError("it is signed for another region than that of its host")
        token.request.check_time(self._clock())
        return Claim(token.request, lambda: Deferred.fromCoroutine(self._prove(token, user)))

    async def _prove(self, token: StsToken, user: str) -> None:
        # A token for another proxy or another user has been signed with other headers than these.
        arn = await self._sts.ask(token.host, token.query, binding(self._host, user))
        if not self._principals.allow(arn, user):
            raise TokenError(f"{arn} may not log in as this user")
