"""The token that STS answers: a presigned GetCallerIdentity request, signed for one proxy and one database user.

Source: "GetCallerIdentity" in the AWS STS API reference, and its list of endpoints in the AWS General Reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.presigned import Presigned, printable, read_query

QUESTION: Final = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
HOST_HEADER: Final = "x-rdsproxy-host"
USER_HEADER: Final = "x-rdsproxy-user"
_SIGNED: Final = f"host;{HOST_HEADER};{USER_HEADER}"
# No plus sign: some read it as a space. No fragment, no other separators: the query is sent on as it is.
_URL: Final = re.compile(r"https://([a-z0-9.-]{1,253})/\?([A-Za-z0-9%&=._~-]+)", re.ASCII)


@dataclass(frozen=True)
class StsToken:
    """A token that is well-formed, of which nothing is proven yet."""

    host: str
    """Of STS."""
    query: str = field(repr=False)
    """As it was written."""
    request: Presigned


def parse_sts_token(password: bytes) -> StsToken:
    """Read what a client sent as its password. Raises TokenError."""
    url = _URL.fullmatch(printable(password))
    if url is None:
        raise TokenError("it does not look like https://HOST/?QUERY as a token for STS does")
    host, query = url.groups()
    request = read_query(query, own=QUESTION, service="sts", headers=_SIGNED)
    for name, value in QUESTION.items():
        if request.query[name] != value:
            raise TokenError(f"its {name} is not {value}")
    return StsToken(host, query, request)


def binding(host: str, user: str) -> dict[str, str]:
    """Give the headers that are signed beside STS's own, which bind a token to a proxy and to a database user."""
    # Quoted, since a header may not have every character, and a signature takes several spaces for one.
    return {HOST_HEADER: quote(host.lower(), safe=""), USER_HEADER: quote(user, safe="")}


def sts_host(region: str) -> str:
    """Give the name of STS in a region."""
    return f"sts.{region}.{'amazonaws.com.cn' if region.startswith('cn-') else 'amazonaws.com'}"


def sts_hosts(region: str) -> dict[str, str]:
    """Give the names of STS that a proxy in `region` asks, with the region that requests to each are signed for."""
    hosts = {sts_host(region): region}
    if not region.startswith(("cn-", "us-gov-")):
        hosts["sts.amazonaws.com"] = "us-east-1"
        if region.startswith("us-"):
            hosts[f"sts-fips.{region}.amazonaws.com"] = region
    return hosts
