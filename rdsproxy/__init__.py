"""rdsproxy: Amazon RDS Proxy that anyone can run, for the MySQL protocol."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rdsproxy.errors import StartError

if TYPE_CHECKING:
    from rdsproxy.config import Config, ConfigError
    from rdsproxy.service import ProxyService

__all__ = ["Config", "ConfigError", "ProxyService", "StartError"]

_HOMES = {"Config": "rdsproxy.config", "ConfigError": "rdsproxy.config", "ProxyService": "rdsproxy.service"}


def __getattr__(name: str) -> object:
    # These import Twisted; rdsproxy.protocol and rdsproxy.session can be used without it.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
