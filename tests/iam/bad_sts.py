"""What becomes of tokens for STS in wrong hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rdsproxy.iam.sts_token import HOST_HEADER, USER_HEADER, binding
from tests.iam.sts import SESSION_KEY_ID, STRANGER, STS_HOST, sign_sts
from tests.iam.tokens import HOST, sign

FORM: Final = "does not look like https://HOST/?QUERY"
REFUSED: Final = "STS refuses it: SignatureDoesNotMatch"


def replaced(old: str, new: str) -> Callable[[str], str]:
    """A good token with something else in it."""

    def make(user: str) -> str:
        token = sign_sts(user)
        assert old in token
        return token.replace(old, new, 1)

    return make


def _without(parameter: str) -> Callable[[str], str]:
    def make(user: str) -> str:
        place, _, query = sign_sts(user).partition("?")
        return f"{place}?{'&'.join(part for part in query.split('&') if not part.startswith(parameter))}"

    return make


BAD: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "empty": (lambda _: "", "characters that no token has, or none"),
    "password": (lambda _: "Planted-Password", FORM),
    "for RDS": (lambda user: sign(user), FORM),
    "not encrypted": (replaced("https:", "http:"), FORM),
    "a port": (replaced(STS_HOST, STS_HOST + ":443"), FORM),
    "a user of the URL": (replaced(STS_HOST, "x@" + STS_HOST), FORM),
    "a name before another host": (replaced(STS_HOST, STS_HOST + "@evil.example.com"), FORM),
    "a path": (replaced("/?", "/x?"), FORM),
    "a fragment": (lambda user: sign_sts(user) + "#x", FORM),
    "a plus sign": (replaced("Version=", "Version=+"), FORM),
    "a semicolon": (replaced("&Version", ";Version"), FORM),
    "a slash": (replaced("%2Fsts", "/sts"), FORM),
    "capitals in the host": (replaced(STS_HOST, STS_HOST.upper()), FORM),
    "newline": (replaced("Action=", "Action=\n"), "characters that no token has"),
    "too long": (lambda user: sign_sts(user) + "x" * 8192, "too long"),
    "another host": (lambda user: sign_sts(user, sts="evil.example.com"), "host is not STS of this region"),
    "an address": (lambda user: sign_sts(user, sts="169.254.169.254"), "host is not STS of this region"),
    "another region's STS": (
        lambda user: sign_sts(user, sts="sts.us-east-1.amazonaws.com", region="us-east-1"),
        "host is not STS of this region",
    ),
    "a host that begins as STS": (
        lambda user: sign_sts(user, sts=STS_HOST + ".evil.example.com"),
        "host is not STS of this region",
    ),
    "a trailing dot": (lambda user: sign_sts(user, sts=STS_HOST + "."), "host is not STS of this region"),
    "signed for another region": (lambda user: sign_sts(user, region="eu-west-2"), "another region"),
    "another service": (lambda user: sign_sts(user, service="iam"), "another service"),
    "another action": (lambda user: sign_sts(user, action="AssumeRole"), "Action is not GetCallerIdentity"),
    "another version": (replaced("Version=2011-06-15", "Version=2012-06-15"), "Version is not 2011-06-15"),
    "without action": (_without("Action"), "has no Action"),
    "action twice": (replaced("Action=", "Action=AssumeRole&Action="), "twice"),
    "action in small letters too": (
        lambda user: sign_sts(user, more={"action": "AssumeRole"}),
        "parameter that no token has",
    ),
    "one more parameter": (
        lambda user: sign_sts(user, more={"RoleArn": "arn:aws:iam::123456789012:role/admin"}),
        "parameter that no token has",
    ),
    "another algorithm": (replaced("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "algorithm"),
    "only the host is signed": (lambda user: sign_sts(user, headers={}), "not host, x-rdsproxy-host, x-rdsproxy-user"),
    "no user is signed": (
        lambda user: sign_sts(user, headers={HOST_HEADER: binding(HOST, user)[HOST_HEADER]}),
        "not host, x-rdsproxy-host, x-rdsproxy-user",
    ),
    "no proxy is signed": (
        lambda user: sign_sts(user, headers={USER_HEADER: binding(HOST, user)[USER_HEADER]}),
        "not host, x-rdsproxy-host, x-rdsproxy-user",
    ),
    "one more header": (
        lambda user: sign_sts(user, headers={**binding(HOST, user), "x-other": "1"}),
        "not host, x-rdsproxy-host, x-rdsproxy-user",
    ),
    "for another kind of proxy": (
        lambda user: sign_sts(user, headers={"x-k8s-aws-id": HOST}),
        "not host, x-rdsproxy-host, x-rdsproxy-user",
    ),
    "expired": (lambda user: sign_sts(user, age=960), "expired"),
    "short and expired": (lambda user: sign_sts(user, expires=10, age=60), "expired"),
    "of the future": (lambda user: sign_sts(user, age=-600), "in the future"),
    "lives a day": (lambda user: sign_sts(user, expires=86400), "lifetime"),
    "signature cut off": (_without("X-Amz-Signature"), "has no X-Amz-Signature"),
    "half": (lambda user: sign_sts(user).partition("&X-Amz-Date")[0], "perhaps it is cut off"),
    # From here on STS is asked.
    "POST": (lambda user: sign_sts(user, method="POST"), REFUSED),
    "another proxy": (lambda user: sign_sts(user, proxy="other.example.com"), REFUSED),
    "another user": (lambda _: sign_sts("other"), REFUSED),
    "user in capitals": (lambda user: sign_sts(user.upper()), REFUSED),
    "another secret": (lambda user: sign_sts(user, secret="Planted-other"), REFUSED),
    "lifetime altered": (lambda user: sign_sts(user, expires=9).replace("Expires=9", "Expires=99"), REFUSED),
    "signature of zeros": (lambda user: sign_sts(user)[:-64] + "0" * 64, REFUSED),
    "without its session": (_without("X-Amz-Security-Token"), "STS refuses it: InvalidClientTokenId"),
    "unknown key": (lambda user: sign_sts(user, key_id="AKIAUNKNOWN", session=None), "InvalidClientTokenId"),
    "another's session": (lambda user: sign_sts(user, key_id=SESSION_KEY_ID, session="x"), "InvalidClientTokenId"),
    "not in the rules": (
        lambda user: sign_sts(user, key_id=STRANGER, session=None),
        "arn:aws:iam::123456789012:user/stranger may not log in as this user",
    ),
}
"""What is wrong, how to make it, and a part of the reason that the log gives."""
