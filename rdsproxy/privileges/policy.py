"""The IAM policy for a proxy of a configuration: what it asks AWS for, and nothing else.

Source: "Actions, resources, and condition keys" for Secrets Manager, RDS, RDS IAM Authentication and KMS in the Service
Authorization Reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from rdsproxy.config import Config
from rdsproxy.privileges.users import monitor_of, users_of

_RDS_HOST: Final = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.rds\.amazonaws\.com(?:\.cn)?\.?$")

Statement = dict[str, Any]


def policy_of(config: Config, kms_keys: Sequence[str] = ()) -> dict[str, Any] | None:
    """Give the policy, to be written as JSON; None if the configuration needs nothing of AWS.

    `kms_keys`: the ARNs of the keys of one's own that the secrets are encrypted with.
    """
    statements = [*_secrets(config, kms_keys), *_tokens(config), *_discovery(config)]
    return {"Version": "2012-10-17", "Statement": statements} if statements else None


def _secrets(config: Config, kms_keys: Sequence[str]) -> list[Statement]:
    arns = [entry.secret_arn for entry in config.proxy.auth]
    arns.append(config.target_group.topology.monitor_secret_arn)
    arns.append(config.proxy.iam.keys_arn if config.proxy.iam is not None else None)
    resources = list(dict.fromkeys(arn for arn in arns if arn is not None))
    if not resources:
        return []
    statements = [_allow("Secrets", ["secretsmanager:GetSecretValue"], resources)]
    if kms_keys:
        regions = sorted({arn.split(":")[3] for arn in resources})
        services = [f"secretsmanager.{region}.{_domain(region)}" for region in regions]
        through = {"StringEquals": {"kms:ViaService": services}}
        statements.append({**_allow("Keys", ["kms:Decrypt"], list(kms_keys)), "Condition": through})
    return statements


def _tokens(config: Config) -> list[Statement]:
    if config.proxy.default_auth_scheme != "IAM_AUTH":
        return []
    users, monitor = users_of(config), monitor_of(config)
    names = [user.name_or_placeholder for user in [*users, *([] if monitor is None else [monitor])]]
    region = _region(config)
    # Neither the account nor the id of the database is in the configuration.
    prefix = f"arn:{_partition(region)}:rds-db:{region}:*:dbuser:*/"
    return [_allow("Tokens", ["rds-db:connect"], [prefix + name for name in dict.fromkeys(names)])]


def _discovery(config: Config) -> list[Statement]:
    topology = config.target_group.topology
    if topology.kind != "aws":
        return []
    region = _region(config)
    prefix = f"arn:{_partition(region)}:rds:{region}:*"
    if topology.instance is not None:
        return [_allow("Targets", ["rds:DescribeDBInstances"], [f"{prefix}:db:{topology.instance}"])]
    return [
        _allow("Cluster", ["rds:DescribeDBClusters"], [f"{prefix}:cluster:{topology.cluster}"]),
        # Asked by a filter for those of the cluster, whose names are not known before.
        _allow("Targets", ["rds:DescribeDBInstances"], [f"{prefix}:db:*"]),
    ]


def _allow(name: str, actions: list[str], resources: list[str]) -> Statement:
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources}


def _region(config: Config) -> str:
    topology = config.target_group.topology
    found = (_RDS_HOST.search(target.host) for target in config.target_group.targets)
    return topology.region or next((match[1] for match in found if match is not None), "*")


def _partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
