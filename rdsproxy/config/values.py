"""The kinds of value a configuration holds, and how each is checked."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError
from twisted.internet.endpoints import serverFromString

_SCHEME = "file:"


def refused(reason: str) -> PydanticCustomError:
    """An error whose text is *reason* as it stands."""
    return PydanticCustomError("refused", "{reason}", {"reason": reason})


def not_yet(what: str, *values: object) -> BeforeValidator:
    """Refuse *values*, which RDS Proxy or a later version knows, saying that this version has no *what*."""

    def check(value: Any) -> Any:
        if value in values:
            raise refused(f"this version does not have {what} yet")
        return value

    return BeforeValidator(check)


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
    if not value.startswith(_SCHEME) or value == _SCHEME:
        raise refused('must be "file:" and the path of a JSON file')
    return f"{_SCHEME}{_under_folder(Path(value.removeprefix(_SCHEME)), info)}"


def secret_path(secret: str) -> Path:
    """The path in a checked ``file:`` secret."""
    return Path(secret.removeprefix(_SCHEME))


def _listen(description: str) -> str:
    """Parse a Twisted server endpoint string without listening.

    The parser gets no reactor: choosing one is up to whoever runs the proxy, and importing it here would choose.
    """
    try:
        serverFromString(None, description)
    except Exception as error:
        # Sockets passed by systemd are known only to the process that systemd starts.
        if isinstance(error, LookupError) and description.startswith("systemd:"):
            return description
        reason = re.sub(r"^\w+\(\) ", "", str(error))
        reason = re.sub(r"invalid literal for int\(\) with base \d+: ", "not a number: ", reason)
        raise refused(f"not an endpoint such as tcp:3306:interface=127.0.0.1: {reason}") from None
    port = re.match(r"(?:haproxy:)?tcp6?:(?:port=)?(\d+)(?::|$)", description)
    if port and int(port[1]) > 65535:
        raise refused(f"a TCP port is at most 65535, not {port[1]}")
    return description


def _host(value: str) -> str:
    if not value or any(character.isspace() for character in value):
        raise refused("must be a host name or an address")
    return value


Name = Annotated[str, Field(min_length=1)]
Seconds = float
FilePath = Annotated[Path, Field(strict=False), AfterValidator(_under_folder)]
Secret = Annotated[str, AfterValidator(_secret)]
Listen = Annotated[str, AfterValidator(_listen)]
Host = Annotated[str, AfterValidator(_host)]
Percent = Annotated[int, Field(ge=0, le=100)]
Port = Annotated[int, Field(ge=1, le=65535)]
at_least_one = (
    Field(strict=False, json_schema_extra={"minItems": 1}),
    # Not min_length: where an item is wrong it would add a line about the missing item.
    AfterValidator(_some),
)
