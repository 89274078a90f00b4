"""The configuration: read, validated, refused with a path and a reason."""

from .auth import AuthSettings, IAMSettings, SecretsSettings
from .load import from_dict, load
from .model import AdminSettings, Config
from .problems import ConfigError
from .proxy import EndpointSettings, ProxySettings, ProxyTLSSettings
from .targets import TargetGroupSettings, TargetSettings, TargetTLSSettings, TLSMode, TopologySettings

__all__ = [
    "AdminSettings",
    "AuthSettings",
    "Config",
    "ConfigError",
    "EndpointSettings",
    "IAMSettings",
    "ProxySettings",
    "ProxyTLSSettings",
    "SecretsSettings",
    "TLSMode",
    "TargetGroupSettings",
    "TargetSettings",
    "TargetTLSSettings",
    "TopologySettings",
    "from_dict",
    "load",
]
