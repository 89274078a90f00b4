"""What is wrong with a configuration, one line per problem."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from rdsproxy.errors import StartError

# What their values say is not for a terminal or a log.
_SILENT = {"secret", "secret_arn", "keys", "keys_arn", "init_query"}

# pydantic's words, where they speak of Python and not of TOML.
_PLAINER = {
    "path_type": "Input should be a path",
    "model_type": "Input should be a table",
    "tuple_type": "Input should be an array",
}


class ConfigError(StartError):
    """A configuration that cannot be used.

    ``problems`` has one line per problem, ``proxy.endpoints[0].target_role: reason``; ``str()`` joins them by
    newlines.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


def path_of(location: Iterable[int | str]) -> str:
    """Write a location as ``proxy.endpoints[0].listen``; empty for the configuration as a whole."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def problems_of(error: ValidationError, known_keys: Iterable[str]) -> list[str]:
    """Say each problem that pydantic found as a path and a reason; *known_keys* feed "did you mean"."""
    keys = list(known_keys)
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        if problem["type"] == "default_factory_not_called":
            continue  # the value it would have been computed from is itself reported
        path = path_of(problem["loc"])
        reason = _reason(problem["type"], problem["msg"], problem["loc"], problem["input"], keys)
        lines.append(f"{path}: {reason}" if path else reason)
    return lines


def _reason(kind: str, message: str, location: Sequence[int | str], value: Any, keys: list[str]) -> str:
    key = str(location[-1]) if location else ""
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(key, keys, n=1)
        return f"unknown key; did you mean {close[0]}?" if close else "unknown key"
    if kind == "missing":
        return "is required"
    reason = _PLAINER.get(kind, message)
    if reason.startswith("Input "):
        reason = reason.removeprefix("Input ")
        shown = isinstance(value, bool | int | float | str) and key not in _SILENT
        if shown and len(text := repr(value)) <= 60:
            reason += f", not {text}"
    return reason
