"""From a TOML file, or from the command line's few options, to a ``Config``."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from .model import Config
from .problems import ConfigError, problems_of

_OPTION_OF_PATH = {
    "target_group.targets[0]": "--target",
    "proxy.endpoints[0].listen": "--listen",
    "proxy.auth[0].secret": "--secret",
}


def load(path: str | Path) -> Config:
    """Read the TOML file *path*; relative paths in it start at its folder.

    Raises ``ConfigError`` if the file cannot be read, is not TOML, or says something that cannot be done.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None
    return from_dict(data, folder=path.absolute().parent)


def from_dict(data: Mapping[str, Any], *, folder: Path | None = None) -> Config:
    """Validate *data*; relative paths start at *folder*, or stay relative without one. Raises ``ConfigError``."""
    try:
        return Config.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        raise ConfigError(problems_of(error, _keys(Config))) from None


def quick(*, target: str, listen: Sequence[str], secret: str) -> Config:
    """What ``Config.quick`` does."""
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdecimal():
        raise ConfigError([f"--target: must be HOST:PORT, not {target!r}"])
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    data = {
        "proxy": {"endpoints": [{"listen": list(listen)}], "auth": [{"secret": secret}]},
        "target_group": {"targets": [{"host": host, "port": int(port)}]},
    }
    try:
        return from_dict(data, folder=Path.cwd())
    except ConfigError as error:
        raise ConfigError([_by_option(problem) for problem in error.problems]) from None


def _by_option(problem: str) -> str:
    path, _, reason = problem.partition(": ")
    for prefix, option in _OPTION_OF_PATH.items():
        if path.startswith(prefix):
            return f"{option}: {reason}"
    return problem


def _keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key of the section *model* and the sections in it."""
    for name, field in model.model_fields.items():
        yield name
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _keys(inner)
