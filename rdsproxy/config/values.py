"""The kinds of value a configuration holds, and how each is checked."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any

from cryptography.x509 import Name as Name509
from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError
from twisted.internet.endpoints import serverFromString

_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+")
_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:(root|(role|user|federated-user)/[^*\s]+)")
SERVER_ID = "{server_id}"
"""In a pattern of hosts, where the id of a server goes."""


def refused(reason: str) -> PydanticCustomError:
    """An error whose text is *reason* as it stands."""
    return PydanticCustomError("refused", "{reason}", {"reason": reason})


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise refused("needs at least one")
    return values


def known_filters(filters: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse session pinning filters that RDS Proxy does not have."""
    if not set(filters) <= {"EXCLUDE_VARIABLE_SETS"}:
        raise refused("unknown filter")
    return filters


def _under_folder(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path


def _secret(value: str, info: ValidationInfo) -> str:
    scheme, _, where = value.partition(":")
    if scheme == "file" and where:
        return f"file:{_under_folder(Path(where), info)}"
    if scheme == "env" and where:
        return value
    # What stands here may be a secret itself, so it is not quoted.
    raise refused('must be "file:" and the path of a JSON file, or "env:" and the name of a variable that has JSON')


def _secret_arn(value: str) -> str:
    if not _ARN.fullmatch(value):
        raise refused("must be the ARN of a secret, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME")
    return value


def _principal_arn(value: str) -> str:
    if not _PRINCIPAL.fullmatch(value):
        raise refused(
            "must be the ARN of a role or a user, arn:aws:iam::ACCOUNT:role/NAME, in full; for a role's sessions that"
            " of the role"
        )
    return value


def _listen(description: str) -> str:
    """Parse a Twisted server endpoint string without listening.

    The parser gets no reactor: choosing one is up to whoever runs the proxy, and importing it here would choose.
    """
    try:
        serverFromString(None, description)
    except Exception as error:
        # Sockets passed by systemd are known only to the process that systemd starts.
        if isinstance(error, LookupError) and description.removeprefix("haproxy:").startswith("systemd:"):
            return description
        reason = re.sub(r"^\w+\(\) ", "", str(error))
        reason = re.sub(r"invalid literal for int\(\) with base \d+: ", "not a number: ", reason)
        raise refused(f"not an endpoint such as tcp:3306:interface=127.0.0.1: {reason}") from None
    port = re.match(r"(?:haproxy:)?(?:tcp6?|ssl):(?:port=)?(\d+)(?::|$)", description)
    if port and int(port[1]) > 65535:
        raise refused(f"a TCP port is at most 65535, not {port[1]}")
    return description


def _cidr(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise refused(f"must be a network such as 10.0.0.0/16: {error}") from None
    return value


def _host(value: str) -> str:
    if not value or any(character.isspace() for character in value):
        raise refused("must be a host name or an address")
    return value


def is_address(host: str) -> bool:
    """Tell an IP address from a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def dns_server(value: str) -> tuple[str, int]:
    """Read the address and port of a DNS server: ``10.0.0.2``, ``10.0.0.2:5353``, ``::1``, ``[::1]:5353``."""
    host, port = value, "53"
    if not is_address(value):
        host, _, port = value.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
    if not is_address(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise refused("must be an address, or an address and a port such as 10.0.0.2:5353")
    return host, int(port)


def _subject(value: str) -> str:
    try:
        subject = Name509.from_rfc4514_string(value).rfc4514_string()
    except ValueError:
        subject = ""
    if not subject:
        raise refused("must be the subject of a certificate as RFC 4514 writes it, such as CN=app,O=Orders")
    return subject


def _host_pattern(value: str) -> str:
    if value.count(SERVER_ID) != 1 or set("{}") & set(value.replace(SERVER_ID, "")):
        raise refused(f"must have {SERVER_ID} in it, once, as in {SERVER_ID}.abc123.eu-west-1.rds.amazonaws.com")
    return _host(value)


def _dns_server(value: str) -> str:
    dns_server(value)
    return value


Name = Annotated[str, Field(min_length=1)]
Seconds = float
FilePath = Annotated[Path, Field(strict=False), AfterValidator(_under_folder)]
Secret = Annotated[str, AfterValidator(_secret)]
SecretARN = Annotated[str, AfterValidator(_secret_arn)]
PrincipalARN = Annotated[str, AfterValidator(_principal_arn)]
Listen = Annotated[str, AfterValidator(_listen)]
CIDR = Annotated[str, AfterValidator(_cidr)]
DNSServer = Annotated[str, AfterValidator(_dns_server)]
HostPattern = Annotated[str, AfterValidator(_host_pattern)]
Subject = Annotated[str, AfterValidator(_subject)]
Host = Annotated[str, AfterValidator(_host)]
Percent = Annotated[int, Field(ge=0, le=100)]
Port = Annotated[int, Field(ge=1, le=65535)]
at_least_one = (
    Field(strict=False, json_schema_extra={"minItems": 1}),
    # Not min_length: where an item is wrong it would add a line about the missing item.
    AfterValidator(_some),
)
