"""Who has signed, and whom that lets in; where STS is."""

from __future__ import annotations

import pytest

from rdsproxy.errors import StartError
from rdsproxy.iam.caller_identity import configured_endpoint
from rdsproxy.iam.principals import Principals, principal_of
from rdsproxy.iam.sts_token import binding, sts_hosts

ROLE = "arn:aws:iam::123456789012:role/orders"


@pytest.mark.parametrize(
    ("arn", "principal"),
    [
        ("arn:aws:sts::123456789012:assumed-role/orders/pod-1", ROLE),
        ("arn:aws-cn:sts::123456789012:assumed-role/orders/i-0123", "arn:aws-cn:iam::123456789012:role/orders"),
        ("arn:aws:iam::123456789012:role/team/a/orders", ROLE),
        (ROLE, ROLE),
        ("arn:aws:iam::123456789012:user/team/orders", "arn:aws:iam::123456789012:user/team/orders"),
        ("arn:aws:sts::123456789012:federated-user/orders", "arn:aws:sts::123456789012:federated-user/orders"),
        ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root"),
        # No sessions that could be.
        ("arn:aws:sts::123456789012:assumed-role/orders", "arn:aws:sts::123456789012:assumed-role/orders"),
        ("arn:aws:sts::123456789012:assumed-role/a/orders/x", "arn:aws:sts::123456789012:assumed-role/a/orders/x"),
    ],
)
def test_principals(arn: str, principal: str) -> None:
    assert principal_of(arn) == principal


def test_rules_add_up() -> None:
    rules = Principals([(ROLE, ["app"]), ("arn:aws:iam::123456789012:role/team/orders", ["report"])])
    session = "arn:aws:sts::123456789012:assumed-role/orders/pod-1"
    assert [rules.allow(session, user) for user in ("app", "report", "App", "other")] == [True, True, False, False]
    assert not rules.allow("arn:aws:sts::999999999999:assumed-role/orders/pod-1", "app")
    assert not rules.allow("arn:aws:sts::123456789012:assumed-role/orders2/pod-1", "app")


@pytest.mark.parametrize(
    ("region", "hosts"),
    [
        ("eu-west-1", {"sts.eu-west-1.amazonaws.com": "eu-west-1", "sts.amazonaws.com": "us-east-1"}),
        (
            "us-east-2",
            {
                "sts.us-east-2.amazonaws.com": "us-east-2",
                "sts.amazonaws.com": "us-east-1",
                "sts-fips.us-east-2.amazonaws.com": "us-east-2",
            },
        ),
        ("us-gov-west-1", {"sts.us-gov-west-1.amazonaws.com": "us-gov-west-1"}),
        ("cn-north-1", {"sts.cn-north-1.amazonaws.com.cn": "cn-north-1"}),
    ],
)
def test_hosts_of_sts(region: str, hosts: dict[str, str]) -> None:
    assert sts_hosts(region) == hosts


def test_no_two_users_are_bound_alike() -> None:
    """Headers with one space or two are signed alike."""
    assert binding("P", "a  b") == {"x-rdsproxy-host": "p", "x-rdsproxy-user": "a%20%20b"}
    users = ["a b", "a  b", " a b", "a%20b", "A b", "ü", "a\nb", "a/b"]
    assert len({binding("p", user)["x-rdsproxy-user"] for user in users}) == len(users)


def test_endpoints_of_the_environment() -> None:
    both = {"AWS_ENDPOINT_URL": "http://localhost:4566/", "AWS_ENDPOINT_URL_STS": "https://[::1]:8443"}
    assert configured_endpoint({}) is None
    assert configured_endpoint({"AWS_ENDPOINT_URL": both["AWS_ENDPOINT_URL"]}) == "http://localhost:4566"
    assert configured_endpoint(both) == "https://[::1]:8443"
    assert configured_endpoint({**both, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}) is None


@pytest.mark.parametrize("url", ["localhost:4566", "ftp://localhost", "http://", "http://user@localhost", "http://h/p"])
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(StartError, match="AWS_ENDPOINT_URL: must be http"):
        configured_endpoint({"AWS_ENDPOINT_URL": url})
