"""The configuration: read, validated, refused with a path and a reason."""

from .load import from_dict, load
from .model import (
    AuthSettings,
    Config,
    EndpointSettings,
    ProxySettings,
    ProxyTLSSettings,
    TargetGroupSettings,
    TargetSettings,
    TargetTLSSettings,
    TLSMode,
    TopologySettings,
)
from .problems import ConfigError

__all__ = [
    "AuthSettings",
    "Config",
    "ConfigError",
    "EndpointSettings",
    "ProxySettings",
    "ProxyTLSSettings",
    "TLSMode",
    "TargetGroupSettings",
    "TargetSettings",
    "TargetTLSSettings",
    "TopologySettings",
    "from_dict",
    "load",
]
