"""A small web site: a few pages, plain text, no log of who looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

Page = Callable[[Request], bytes]
"""Answers a request: gives the body, having set the headers and the status unless that is 200."""

Pages = Mapping[bytes, Mapping[bytes, Page]]
"""What each path has for each method. HEAD is answered where GET is."""

IDLE_TIMEOUT: Final = 60.0  # seconds


def line(request: Request, status: int, text: str) -> bytes:
    """Answer by one line of text."""
    request.setResponseCode(status)
    request.setHeader("content-type", "text/plain; charset=utf-8")
    return f"{text}\n".encode()


class AdminSite(WrappingFactory):
    """Serves pages. Its connections are the reactor's, not the hub's, and end with `close`."""

    noisy = False

    def __init__(self, pages: Pages, reactor: Any) -> None:
        super().__init__(_Site(_Root(pages), requestFactory=_Request, timeout=IDLE_TIMEOUT, reactor=reactor))
        self.protocol = _Connection
        self._closed: Deferred[None] | None = None

    def close(self) -> Deferred[None]:
        """End all connections. Fires when they are closed."""
        closed: Deferred[None] = Deferred()
        self._closed = closed
        for connection in list(self.protocols):
            connection.abortConnection()
        self.connection_closed()
        return closed

    def connection_closed(self) -> None:
        """Note that a connection is closed."""
        if self._closed is not None and not self.protocols:
            closed, self._closed = self._closed, None
            closed.callback(None)


class _Connection(ProtocolWrapper):
    """Tells the site when it is closed and nothing is left of it."""

    factory: AdminSite

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.factory.connection_closed()


class _Site(Site):
    noisy = False

    def startFactory(self) -> None:
        """Open no access log, and keep no clock for it."""


class _Request(Request):
    """No page has a use for a body: it is read, and dropped."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        pass


class _Root(Resource):
    """Finds the page. twisted.web's own answers to what there is not are HTML, and log a line for each HEAD."""

    isLeaf = True

    def __init__(self, pages: Pages) -> None:
        super().__init__()
        self._pages = pages

    def render(self, request: Request) -> bytes:
        # Which version of which library answers is nobody's business.
        request.responseHeaders.removeHeader(b"server")
        head = request.method == b"HEAD"
        body = self._answer(request, b"GET" if head else request.method)
        if not head:
            return body
        request.setHeader("content-length", str(len(body)))
        return b""

    def _answer(self, request: Request, method: bytes) -> bytes:
        page = self._pages.get(request.path)
        if page is None:
            return line(request, http.NOT_FOUND, "not found")
        if method not in page:
            request.setHeader("allow", b", ".join([*page, *([b"HEAD"] if b"GET" in page else [])]))
            return line(request, http.NOT_ALLOWED, "method not allowed")
        return page[method](request)
