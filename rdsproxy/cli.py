"""The ``rdsproxy`` command: looks at configurations. What runs the proxy is ``twistd rdsproxy``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from .config import Config, ConfigError, load
from .credentials import FileCredentials
from .errors import StartError
from .tls import backend_tls, proxy_tls


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit status: 0, or 1 for a bad configuration. Bad arguments exit with 2."""
    parser = argparse.ArgumentParser(
        prog="rdsproxy",
        description="Look at configurations of rdsproxy. To run the proxy: twistd -n rdsproxy --config FILE",
    )
    parser.add_argument("--version", action="version", version=f"rdsproxy {_version()}")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check-config", help="say what is wrong with a configuration, or what would run")
    check.add_argument("file", metavar="FILE")
    commands.add_parser("config-schema", help="print the JSON Schema of configurations, for editors")
    chosen = parser.parse_args(arguments)
    if chosen.command == "config-schema":
        _say([json.dumps(Config.model_json_schema(), indent=2)])
        return 0
    return check_config(chosen.file)


def check_config(file: str) -> int:
    """Print what is wrong with the configuration *file* or what would run; give the exit status.

    Reads the secrets and certificates that it names, but does not listen and does not connect.
    """
    try:
        config = load(file)
        problems = list(_problems_at_start(config))
    except ConfigError as error:
        problems = list(error.problems)
    if problems:
        _say([f"{file}: would not run", *(f"  {problem}" for problem in problems)])
        return 1
    _say([f"{file}: would run", *(f"  {line}" for line in _what_would_run(config))])
    return 0


def _problems_at_start(config: Config) -> Iterator[str]:
    proxy, group = config.proxy, config.target_group
    checks: list[Callable[[], object]] = [
        lambda: FileCredentials.read(proxy.auth),
        lambda: proxy.tls and proxy_tls(proxy.tls),
        lambda: backend_tls(group.tls.mode, group.targets[0].host, group.tls.ca),
    ]
    for check in checks:
        try:
            check()
        except StartError as error:
            yield str(error)


def _what_would_run(config: Config) -> Iterator[str]:
    proxy, group = config.proxy, config.target_group
    yield f"proxy {proxy.name}"
    for endpoint in proxy.endpoints:
        yield f"  endpoint {endpoint.name} ({endpoint.target_role}): {', '.join(endpoint.listen)}"
    for user in FileCredentials.read(proxy.auth):
        yield f"  user {user.username} ({user.client_plugin})"
    if proxy.tls is None:
        yield "  TLS not offered"
    else:
        yield f"  TLS {'required' if proxy.require_tls else 'offered'}, certificate {proxy.tls.certificate}"
    yield f"  at most {proxy.max_client_connections} clients"
    yield f"  a client is disconnected after {proxy.idle_client_timeout:g} s without a command"
    for target in group.targets:
        yield f"target {target.host}:{target.port}"
    yield f"  TLS {group.tls.mode}{f', authorities {group.tls.ca}' if group.tls.ca else ''}"
    cap = f" and {group.max_connections} connections" if group.max_connections is not None else ""
    yield f"  at most {group.max_connections_percent} % of its max_connections{cap}"
    yield f"  at most {group.max_idle_connections_percent} % of its max_connections unused"
    yield f"  a statement waits at most {group.connection_borrow_timeout:g} s for a connection"


def _version() -> str:
    try:
        return version("rdsproxy")
    except PackageNotFoundError:
        return "(not installed)"


def _say(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
