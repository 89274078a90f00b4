"""AWS Signature Version 4 of a presigned GET request, as one who knows the secret access key computes it.

Source: "Create a signed AWS API request" and "Authenticating Requests: Using Query Parameters" of AWS's documentation.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_NO_BODY: Final = hashlib.sha256(b"").hexdigest()


def presigned_signature(secret_access_key: str, host: str, query: Mapping[str, str], date: str, scope: str) -> str:
    """Give the 64 lower-case hexadecimal digits of the signature of ``GET https://HOST/?QUERY``.

    `host` is the header's value, with the port unless that is 443. `query` has all parameters but the signature, not
    encoded. `date` is ``YYYYMMDDTHHMMSSZ``, `scope` ``YYYYMMDD/REGION/SERVICE/aws4_request``.
    """
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    canonical_query = "&".join(f"{name}={value}" for name, value in encoded)
    request = f"GET\n/\n{canonical_query}\nhost:{host}\n\nhost\n{_NO_BODY}"
    to_sign = f"{ALGORITHM}\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + secret_access_key.encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return _hmac(key, to_sign).hex()


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), "sha256")
