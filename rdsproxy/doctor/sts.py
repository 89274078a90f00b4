"""Whether AWS STS, which is to verify clients' tokens, can be reached."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from rdsproxy.doctor.finding import Finding, fail, ok
from rdsproxy.errors import StartError
from rdsproxy.iam.caller_identity import CallerIdentity, configured_endpoint
from rdsproxy.iam.errors import TokenError, TokenUndecidedError
from rdsproxy.iam.sts_token import QUESTION, sts_host

_TIMEOUT = 10.0  # seconds


async def check_sts(region: str, reactor: Any) -> list[Finding]:
    """Ask it who is there, without a signature: its refusal shows that it can be reached, over verified TLS."""
    host = sts_host(region)
    subject = f"STS {host}"
    try:
        endpoint = configured_endpoint(os.environ)
    except StartError as error:
        return [fail(subject, str(error), "correct the variable where the proxy is started, or leave it out")]
    identity = CallerIdentity(endpoint, reactor)
    query = "&".join(f"{name}={value}" for name, value in QUESTION.items())
    try:
        await Deferred.fromCoroutine(identity.ask(host, query, {})).addTimeout(_TIMEOUT, reactor)
    except TokenError:
        pass
    except (TokenUndecidedError, TimeoutError) as error:
        found = str(error) if isinstance(error, TokenUndecidedError) else "no answer in time"
        return [fail(subject, found, "lead this machine to it: a route, a VPC endpoint, or AWS_ENDPOINT_URL if set")]
    finally:
        identity.stop()
    return [ok(subject, "it answers" if endpoint is None else f"{endpoint} answers in its place")]
