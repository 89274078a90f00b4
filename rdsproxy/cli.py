"""The ``rdsproxy`` command: looks at configurations, prints tokens. What runs the proxy is ``twistd rdsproxy``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from twisted.internet.defer import Deferred

from .aws import require_boto3, require_boto3_for
from .config import AuthSettings, Config, ConfigError, load
from .credentials import SecretError
from .credentials.building import read_local
from .errors import StartError
from .iam.building import check_tokens
from .iam.minting import MintingError, make_signer, make_sts_token, make_token
from .privileges.grants import grants_of
from .privileges.policy import policy_of
from .tls import backend_tls, proxy_tls


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit status: 0, or 1 if something is wrong. Bad arguments exit with 2."""
    parser = argparse.ArgumentParser(
        prog="rdsproxy",
        description="Look at configurations of rdsproxy. To run the proxy: twistd -n rdsproxy --config FILE",
    )
    parser.add_argument("--version", action="version", version=f"rdsproxy {_version()}")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check-config", help="say what is wrong with a configuration, or what would run")
    check.add_argument("file", metavar="FILE")
    doctor = commands.add_parser("doctor", help="look at each link up to the database, and say what to do")
    doctor.add_argument("--config", metavar="FILE", required=True)
    grants = commands.add_parser("grants", help="print the SQL that makes the database's users, without passwords")
    grants.add_argument("--config", metavar="FILE", required=True)
    policy = commands.add_parser("policy", help="print the IAM policy that the proxy needs, as JSON")
    policy.add_argument("--config", metavar="FILE", required=True)
    policy.add_argument(
        "--kms-key", metavar="ARN", action="append", default=[],
        help="the KMS key of your own that secrets are encrypted with; may be repeated",
    )
    commands.add_parser("config-schema", help="print the JSON Schema of configurations, for editors")
    token = commands.add_parser("token", help="print an IAM token to log in to a proxy with, as the password")
    token.add_argument(
        "--kind", choices=("rds", "sts"), default="rds",
        help="what the proxy's [proxy.iam] verifies: sts, or rds for keys and database",
    )
    token.add_argument(
        "--host", required=True, help="the proxy's name, the host of its [proxy.iam]; for database that of the database"
    )
    token.add_argument("--port", type=int, default=3306, help="of a token for RDS; default: 3306")
    token.add_argument("--user", required=True, help="the user of the database")
    token.add_argument("--region", help="default: as AWS's tools find it")
    chosen = parser.parse_args(arguments)
    if chosen.command == "token":
        return print_token(chosen.kind, chosen.host, chosen.port, chosen.user, chosen.region)
    if chosen.command == "doctor":
        return examine_config(chosen.config)
    if chosen.command == "grants":
        return print_grants(chosen.config)
    if chosen.command == "policy":
        return print_policy(chosen.config, chosen.kms_key)
    if chosen.command == "config-schema":
        _say([json.dumps(Config.model_json_schema(), indent=2)])
        return 0
    return check_config(chosen.file)


def print_token(kind: str, host: str, port: int, user: str, region: str | None) -> int:
    """Print a token that is good for 15 minutes, or why there is none; give the exit status.

    The access key is found as AWS's tools find it: not an argument, which others on the machine could see.
    """
    try:
        require_boto3("rdsproxy token")
        if kind == "sts":
            token = make_sts_token(host, user, region)
        else:
            token = make_token(make_signer(region), host, port, user)
        _say([token])
    except (StartError, MintingError) as error:
        sys.stderr.write(f"rdsproxy: {error}\n")
        return 1
    return 0


def examine_config(file: str) -> int:
    """Check all that the configuration *file* names, and print a line for each check; give the exit status.

    That is 0 if the proxy works, 1 if something fails, 2 if the configuration is bad. Logs in at the databases, and
    listens for a moment.
    """
    try:
        config = load(file)
    except ConfigError as error:
        _say([f"{file}: would not run", *(f"  {problem}" for problem in error.problems)])
        return 2
    # Not before it is needed: to import a reactor is to choose one.
    from twisted.internet.task import react

    from .doctor.examination import examine, summary
    from .doctor.finding import Finding, Level, ok, worst

    found: list[Finding] = [ok("configuration", f"{file} is valid")]

    async def main(reactor: object) -> None:
        found.extend(await examine(config, reactor))

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as ending:
        if ending.code:
            return 1
    _say([*map(str, found), summary(found)])
    return 1 if worst(found) is Level.FAIL else 0


def print_grants(file: str) -> int:
    """Print the SQL for the users of the configuration *file*; give the exit status."""
    try:
        _say(list(grants_of(load(file))))
    except ConfigError as error:
        return _refuse(error)
    return 0


def print_policy(file: str, kms_keys: Sequence[str]) -> int:
    """Print the IAM policy for the configuration *file*; give the exit status."""
    try:
        policy = policy_of(load(file), kms_keys)
    except ConfigError as error:
        return _refuse(error)
    if policy is None:
        sys.stderr.write("rdsproxy: this configuration needs nothing of AWS\n")
    else:
        _say([json.dumps(policy, indent=2)])
    return 0


def _refuse(error: ConfigError) -> int:
    sys.stderr.write("".join(f"rdsproxy: {problem}\n" for problem in error.problems))
    return 1


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
        lambda: require_boto3_for(config),
        lambda: proxy.tls and proxy_tls(proxy.tls),
        lambda: backend_tls(group.tls.mode, group.some_host, group.tls.ca),
    ]
    iam = proxy.iam
    if iam is not None:
        checks.append(lambda: check_tokens(iam))
    for secrets in (proxy.auth, _monitors(config)):
        yield from (str(read) for read in read_local(secrets) if isinstance(read, SecretError))
    for check in checks:
        try:
            check()
        except StartError as error:
            yield str(error)


def _monitors(config: Config) -> list[AuthSettings]:
    monitor = config.target_group.topology.monitor
    return [] if monitor is None else [monitor]


def _what_would_run(config: Config) -> Iterator[str]:
    proxy, group = config.proxy, config.target_group
    yield f"proxy {proxy.name}"
    for endpoint in proxy.endpoints:
        yield f"  endpoint {endpoint.name} ({endpoint.target_role}): {', '.join(endpoint.listen)}"
    for user in read_local(proxy.auth):
        if not isinstance(user, SecretError):
            yield f"  user {user.username} ({user.client_plugin})"
    for entry in proxy.auth:
        if entry.secret_arn is not None:
            yield f"  the user of {entry.secret_arn} ({entry.client_plugin}), which was not asked for"
    if proxy.iam is not None:
        yield f"  IAM tokens of clients verified by {proxy.iam.verify}"
    if proxy.tls is None:
        yield "  TLS not offered"
    else:
        yield f"  TLS {'required' if proxy.require_tls else 'offered'}, certificate {proxy.tls.certificate}"
    yield f"  at most {proxy.max_client_connections} clients"
    yield f"  a client is disconnected after {proxy.idle_client_timeout:g} s without a command"
    if group.topology.kind == "aws":
        name = f"cluster {group.topology.cluster}" if group.topology.cluster else f"instance {group.topology.instance}"
        yield f"targets: the RDS {name}, as the RDS API says"
    for target in group.targets:
        yield f"target {target.host}:{target.port}"
    yield f"  TLS {group.tls.mode}{f', authorities {group.tls.ca}' if group.tls.ca else ''}"
    cap = f" and {group.max_connections} connections" if group.max_connections is not None else ""
    yield f"  at most {group.max_connections_percent} % of its max_connections{cap}"
    yield f"  at most {group.max_idle_connections_percent} % of its max_connections unused"
    yield f"  a statement waits at most {group.connection_borrow_timeout:g} s for a connection"
    if config.admin is not None:
        yield f"admin {config.admin.listen}: /health, /metrics"


def _version() -> str:
    try:
        return version("rdsproxy")
    except PackageNotFoundError:
        return "(not installed)"


def _say(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
