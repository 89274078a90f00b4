"""What to do about an error of AWS, from the one line that boto3 has for it."""

from __future__ import annotations

from typing import Final

# Parts of botocore's own texts (botocore.exceptions), and the codes of the APIs, which these texts quote.
_REMEDIES: Final = (
    (
        ("Unable to locate credentials", "Partial credentials", "config profile", "CredentialRetrieval"),
        "give the proxy AWS credentials: a role of its instance, task or pod, or AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY",
    ),
    (("You must specify a region",), "set AWS_REGION, or region in the profile of ~/.aws/config"),
    (
        ("ExpiredToken", "RequestExpired", "has expired", "Error when retrieving token"),
        "renew the AWS credentials; if they are fresh, set this machine's clock",
    ),
    (
        ("UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch",
         "InvalidSignatureException"),
        "AWS does not know these credentials: correct them, and see whether AWS_ENDPOINT_URL is meant",
    ),
    (("DecryptionFailure", "KMS"), "allow kms:Decrypt on the key that the secret is encrypted with"),
    (
        ("ResourceNotFoundException", "InvalidRequestException"),
        "correct the ARN, or restore the secret: it does not exist there, has no current version, or is to be deleted",
    ),
    (("DBClusterNotFoundFault", "DBInstanceNotFound"), "correct cluster, instance or region"),
    (("Throttling", "TooManyRequests"), "too many questions at a time: try again"),
    (
        ("Could not connect to the endpoint", "timeout on endpoint", "Connection was closed", "SSL validation failed",
         "Failed to connect to proxy"),
        "lead this machine to AWS: a route, a VPC endpoint, or AWS_ENDPOINT_URL, HTTPS_PROXY and AWS_CA_BUNDLE if set",
    ),
)


def remedy_of(reason: str, action: str, resource: str) -> str:
    """Say what to do about `reason`, with which `action` on `resource` has failed."""
    for texts, remedy in _REMEDIES:
        if any(text in reason for text in texts):
            return remedy
    if "AccessDenied" in reason or "not authorized" in reason:
        return f"allow {action} on {resource}; rdsproxy policy prints the whole policy"
    return f"see what {action} on {resource} says with AWS's own tools"
