"""Has STS answer a request that a client has signed: over verified TLS, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from rdsproxy.errors import StartError
from rdsproxy.iam.errors import TokenError, TokenUndecidedError

_CONNECT_TIMEOUT: Final = 3.0  # seconds
_MAX_ANSWER: Final = 1 << 16  # bytes; answers have about 500
_NAMESPACE: Final = "{https://sts.amazonaws.com/doc/2011-06-15/}"
_LATER: Final = frozenset((408, 429))
_BUSY: Final = re.compile("Throttl|RequestLimitExceeded|TooManyRequests|SlowDown")


def configured_endpoint(environment: Mapping[str, str]) -> str | None:
    """Give the endpoint that takes STS's place, if AWS's variables name one. Raises StartError."""
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    for name in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
        value = environment.get(name)
        if value:
            return _base(name, value)
    return None


def _base(name: str, value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/") or url.query or url.username:
        raise StartError(f"{name}: must be http:// or https:// and a host, perhaps with a port")
    return f"{url.scheme}://{url.netloc}"


class CallerIdentity:
    """Asks STS, or `endpoint` in its place. No redirect is followed, and no proxy used."""

    def __init__(self, endpoint: str | None, reactor: Any) -> None:
        self._endpoint = endpoint
        self._pool = HTTPConnectionPool(reactor)
        # Each connection's factory would log that it starts and stops.
        quiet: Any = type("_QuietFactory", (self._pool._factory,), {"noisy": False})
        self._pool._factory = quiet
        # Its TLS is verified against the authorities of the system.
        self._agent = Agent(reactor, connectTimeout=_CONNECT_TIMEOUT, pool=self._pool)

    def stop(self) -> None:
        """Close connections that are kept."""
        self._pool.closeCachedConnections()

    async def ask(self, host: str, query: str, headers: Mapping[str, str]) -> str:
        """Send ``GET https://HOST/?QUERY`` with `headers`, and give the ARN of whoever has signed that.

        Raises TokenError, TokenUndecidedError. It is up to the caller to cancel what takes too long.
        """
        url = f"{self._endpoint or f'https://{host}'}/?{query}"
        sent = Headers({"host": [host], **{name: [value] for name, value in headers.items()}})
        try:
            response: Any = await self._agent.request(b"GET", url.encode(), sent)
            body = await _read(response)
        except Exception as error:
            raise TokenUndecidedError(f"STS does not answer: {_kind(error)}") from None
        if response.code == 200:
            return _arn(body)
        code = _error_code(body)
        if 400 <= response.code < 500 and response.code not in _LATER and code and not _BUSY.match(code):
            raise TokenError(f"STS refuses it: {code}")
        raise TokenUndecidedError(f"STS answers with HTTP status {response.code}{f', {code}' if code else ''}")


def _kind(error: Exception) -> str:
    """Say what an error is. Not in its own words, which may quote what has been sent."""
    if isinstance(error, ResponseFailed) and error.reasons:
        error = error.reasons[0].value
    if isinstance(error, CancelledError | ConnectingCancelledError):
        return "not in time"
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return f"TLS: {error.args[0][-1][-1]}"
    return type(error).__name__


def _arn(body: bytes) -> str:
    found = _text(body, f"{_NAMESPACE}GetCallerIdentityResponse", "GetCallerIdentityResult", "Arn")
    if found is None or not re.fullmatch(r"[\x21-\x7e]{1,2048}", found):
        raise TokenUndecidedError("STS answers what is not understood")
    return found


def _error_code(body: bytes) -> str:
    # The message beside it is left out: of a wrong signature it quotes the request.
    found = _text(body, f"{_NAMESPACE}ErrorResponse", "Error", "Code") or ""
    return found if re.fullmatch("[A-Za-z0-9.]{1,64}", found) else ""


def _text(body: bytes, root: str, *path: str) -> str | None:
    """Give the text of the one element at `path`."""
    if b"<!" in body:
        return None  # neither entities nor a document type, whatever they may be good for
    try:
        document = ElementTree.fromstring(body)  # noqa: S314 - what is dangerous in XML has just been refused
    except ElementTree.ParseError:
        return None
    found = document.findall("/".join(_NAMESPACE + name for name in path)) if document.tag == root else []
    return found[0].text if len(found) == 1 else None


def _read(response: Any) -> Deferred[bytes]:
    reader = _Reader()
    response.deliverBody(reader)
    return reader.done


class _Reader(Protocol):
    """Takes the body of an answer, of which there is not to be too much."""

    def __init__(self) -> None:
        self._body = bytearray()
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        """Take a part."""
        self._body += data
        if len(self._body) > _MAX_ANSWER:
            self._abort()

    def _abort(self) -> None:
        self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended."""
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss) and len(self._body) <= _MAX_ANSWER:
            self.done.callback(bytes(self._body))
        else:
            self.done.errback(Failure(ConnectionLost()))
