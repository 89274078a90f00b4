"""Tokens made: the proxy's own, one for each login at a database that authenticates it by IAM, and those of clients."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred

from rdsproxy.aws import make_client, reason_of
from rdsproxy.iam.presigned import MAX_LIFETIME
from rdsproxy.iam.sts_token import QUESTION, binding, sts_host
from rdsproxy.threads import Threads

_TIMEOUT: Final = 10.0
"""Seconds that AWS's tools may take to find credentials, which may have to be asked for."""


class MintingError(Exception):
    """No token can be made. Says why, and nothing that is secret."""


class Mint:
    """Makes RDS tokens by botocore. Region and credentials are found as AWS's own tools find them.

    Source: "Connecting to your DB instance using IAM authentication" of the Amazon RDS User Guide.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # One thread: finding credentials blocks, and it is done once for all who wait for it.
        self._threads = Threads("iam-token", 1, reactor)
        self._client: Any = None

    def start(self) -> None:
        """Be ready."""
        self._threads.start()

    def stop(self) -> None:
        """Make no more."""
        self._threads.stop()

    def token(self, host: str, port: int, user: str) -> Deferred[str]:
        """Give a token for `user` at `host`, good for 15 minutes. Fails with MintingError within seconds."""

        def failed(*_: object) -> str:
            raise MintingError("AWS's tools take too long to find credentials")

        made = self._threads.run(lambda: self._make(host, port, user))
        return made.addTimeout(_TIMEOUT, self._reactor, failed)

    def _make(self, host: str, port: int, user: str) -> str:
        try:
            if self._client is None:
                self._client = make_signer(None)
            return make_token(self._client, host, port, user)
        except MintingError:
            # A client without credentials does not look for them twice.
            self._client = None
            raise


def make_signer(region: str | None) -> Any:
    """Make what signs tokens for `region`, or for the one that AWS's tools find. Blocks. Raises MintingError."""
    from botocore.exceptions import BotoCoreError

    try:
        return make_client("rds", region)
    except BotoCoreError as error:
        raise MintingError(f"no IAM token can be made: {reason_of(error)}") from None


def make_token(signer: Any, host: str, port: int, user: str) -> str:
    """Sign a token, good for 15 minutes. Blocks where credentials have to be asked for. Raises MintingError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        token: str = signer.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
    except (BotoCoreError, ClientError) as error:
        raise MintingError(f"no IAM token can be made: {reason_of(error)}") from None
    return token


def make_sts_token(host: str, user: str, region: str | None) -> str:
    """Sign a token for STS, with which `user` may log in to the proxy called `host`, within 15 minutes.

    Blocks where credentials have to be asked for. Raises MintingError.
    """
    import boto3.session
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

    try:
        session = boto3.session.Session()
        region = region or session.region_name
        if region is None:
            raise NoRegionError
        url = f"https://{sts_host(region)}/"
        request = AWSRequest("GET", url, params=QUESTION, headers=binding(host, user))
        SigV4QueryAuth(session.get_credentials(), "sts", region, expires=MAX_LIFETIME).add_auth(request)
    except (BotoCoreError, ClientError) as error:
        raise MintingError(f"no IAM token can be made: {reason_of(error)}") from None
    return str(request.url)
