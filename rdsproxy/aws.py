"""How the proxy asks AWS: boto3, which blocks and takes a third of a second to begin. This is for threads.

Region, profile, role and endpoint are found as AWS's own tools find them (``AWS_PROFILE``, ``~/.aws/config``,
``AWS_ENDPOINT_URL``, the role of the instance, container or pod, ...), but for a region that is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from rdsproxy.errors import StartError

if TYPE_CHECKING:
    from rdsproxy.config import Config

_CONNECT_TIMEOUT: Final = 3.0
_READ_TIMEOUT: Final = 5.0
"""Seconds, for each of two attempts."""


def require_boto3(key: str) -> None:
    """Raise StartError if boto3 is not there, which the configuration asks for by `key`."""
    try:
        import boto3  # noqa: F401 - whether it can be imported is the question
    except ImportError:
        raise StartError(f"{key} needs boto3: pip install rdsproxy[aws]") from None


def require_boto3_for(config: Config) -> None:
    """Raise StartError if the configuration asks AWS for something and boto3 is not there."""
    for key in _asking_aws(config):
        require_boto3(key)


def _asking_aws(config: Config) -> Iterator[str]:
    proxy, topology = config.proxy, config.target_group.topology
    for number, entry in enumerate(proxy.auth):
        if entry.secret_arn is not None:
            yield f"proxy.auth[{number}].secret_arn"
    if topology.monitor_secret_arn is not None:
        yield "target_group.topology.monitor_secret_arn"
    if proxy.iam is not None and proxy.iam.keys_arn is not None:
        yield "proxy.iam.keys_arn"
    if topology.kind == "aws":
        yield "target_group.topology.kind: 'aws'"
    if proxy.default_auth_scheme == "IAM_AUTH":
        yield "proxy.default_auth_scheme: 'IAM_AUTH'"


def make_client(service: str, region: str | None) -> Any:
    """Make a boto3 client, from a session of its own. It may be used by several threads; one alone may make it.

    Raises botocore's BotoCoreError. Questions to it block for half a minute at most.
    """
    import boto3.session
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
    return boto3.session.Session().client(service, region_name=region, config=config)


def reason_of(error: Exception) -> str:
    """Say in one line what botocore's `error` is."""
    return " ".join(str(error).split())


def is_of_the_environment(error: Exception) -> bool:
    """Tell whether credentials or the like are missing, for which a client does not look twice."""
    from botocore.exceptions import ClientError, HTTPClientError

    return not isinstance(error, ClientError | HTTPClientError)
