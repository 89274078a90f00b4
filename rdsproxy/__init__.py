"""rdsproxy: Amazon RDS Proxy that anyone can run, for the MySQL protocol."""

from __future__ import annotations

from rdsproxy.config import Config, ConfigError
from rdsproxy.errors import StartError

__all__ = ["Config", "ConfigError", "ProxyService", "StartError"]


def __getattr__(name: str) -> object:
    # Importing the service imports Twisted's reactor-side modules; the protocol can be used without them.
    if name == "ProxyService":
        from rdsproxy.service import ProxyService

        return ProxyService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
