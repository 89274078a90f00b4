"""From a configuration to what verifies tokens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from rdsproxy.config import Config, IAMSettings
from rdsproxy.credentials.building import Secrets, local_source
from rdsproxy.iam.caller_identity import CallerIdentity, configured_endpoint
from rdsproxy.iam.database import LoginProver, Show
from rdsproxy.iam.kept_keys import KeptKeys
from rdsproxy.iam.keys import KeyVerifier, parse_keys
from rdsproxy.iam.principals import Principals
from rdsproxy.iam.remembering import Prover, RememberingVerifier
from rdsproxy.iam.reuse import FirstUse
from rdsproxy.iam.sts import StsProver
from rdsproxy.interfaces import ITokenVerifier

_REQUESTS: Final = 16
"""Requests to STS at a time."""
_LOGINS: Final = 4
"""Logins at a database at a time: they come on top of the pool's connections."""

_log = structlog.get_logger("rdsproxy.iam")


def check_tokens(settings: IAMSettings) -> None:
    """Raise StartError if tokens could not be verified for want of something that is on this machine."""
    if settings.keys is not None:
        source = local_source(settings.keys)
        parse_keys(source.name, source.text())
    elif settings.verify == "sts":
        configured_endpoint(os.environ)


class Tokens:
    """What verifies the tokens of a configuration that has ``[proxy.iam]``. `find` is that of LoginProver."""

    def __init__(
        self, config: Config, secrets: Secrets, find: Callable[[str, int], Show | None], reactor: Any
    ) -> None:
        """Make it. Raises StartError."""
        settings = config.proxy.iam
        assert settings is not None
        check_tokens(settings)
        self._reactor = reactor
        self._stops: list[Callable[[], None]] = []
        self._starts: list[Callable[[], None]] = []
        secret = settings.key_secret
        if secret is not None:
            keys = KeptKeys(secrets.source(secret), config.proxy.secrets.max_age, reactor)
            self._starts.append(keys.start)
            self._stops.append(keys.stop)
            host, region = _place(settings)
            verifier: ITokenVerifier = KeyVerifier(keys.now, host, region, time.time)
        elif settings.verify == "sts":
            verifier = self._remembering(self._sts(settings), _REQUESTS)
        else:
            verifier = self._remembering(LoginProver(find, time.time), _LOGINS)
        if settings.reuse != "ALLOWED":
            verifier = FirstUse(verifier, settings.reuse == "SAME_ADDRESS", reactor.seconds)
        self.verifier = verifier

    def start(self) -> None:
        """Be ready."""
        for start in self._starts:
            start()

    def stop(self) -> None:
        """Ask nobody any more."""
        for stop in self._stops:
            stop()

    def _remembering(self, prover: Prover, at_once: int) -> RememberingVerifier:
        verifier = RememberingVerifier(prover, at_once, time.time, self._reactor)
        self._stops.insert(0, verifier.stop)
        return verifier

    def _sts(self, settings: IAMSettings) -> StsProver:
        endpoint = configured_endpoint(os.environ)
        if endpoint is not None:
            _log.warning("IAM tokens are verified by another endpoint than that of AWS", endpoint=endpoint)
        identity = CallerIdentity(endpoint, self._reactor)
        self._stops.append(identity.stop)
        principals = Principals((principal.arn, principal.users) for principal in settings.principals)
        host, region = _place(settings)
        return StsProver(identity, principals, host, region, time.time)


def _place(settings: IAMSettings) -> tuple[str, str]:
    assert settings.host is not None
    assert settings.region is not None
    return settings.host, settings.region
