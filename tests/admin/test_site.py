"""The admin endpoint's site, without a network."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Request

from rdsproxy.admin.site import IDLE_TIMEOUT, AdminSite, line

LARGE = 1 << 21  # bytes; more than Twisted would keep in memory


def shown(request: Request) -> bytes:
    """A page that tells what it got."""
    assert request.content is not None
    return line(request, 200, f"{request.args} {len(request.content.read())}")


def broken(request: Request) -> bytes:
    raise ValueError("secret")


def named(field: str) -> tuple[str, str]:
    name, _, value = field.partition(": ")
    return name.lower(), value


class Transport(StringTransport):
    """Closes at once."""

    protocol: Any

    def loseConnection(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    abortConnection = loseConnection


class Bench:
    """A site and connections to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.site = AdminSite(
            {b"/page": {b"GET": shown}, b"/deed": {b"POST": shown}, b"/broken": {b"GET": broken}}, self.clock
        )

    def connect(self) -> Any:
        transport: Any = Transport()  # type: ignore[no-untyped-call]
        transport.protocol = self.site.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        return transport

    def ask(self, head: str, body: bytes = b"", *headers: str) -> tuple[str, dict[str, str], str]:
        """Give the status line, the headers and the body of the answer."""
        transport = self.connect()
        lines = [f"{head} HTTP/1.1", "Host: admin", f"Content-Length: {len(body)}", *headers, "", ""]
        transport.protocol.dataReceived("\r\n".join(lines).encode() + body)
        top, _, text = transport.value().decode().partition("\r\n\r\n")
        status, *fields = top.split("\r\n")
        return status, dict(named(field) for field in fields), text


def test_a_page() -> None:
    status, headers, text = Bench().ask("GET /page?name=value")
    assert status == "HTTP/1.1 200 OK"
    assert text == "{b'name': [b'value']} 0\n"
    assert headers["content-type"] == "text/plain; charset=utf-8"


def test_head_has_the_same_headers_and_no_body() -> None:
    _, of_get, text = Bench().ask("GET /page")
    status, of_head, nothing = Bench().ask("HEAD /page")
    assert (status, nothing) == ("HTTP/1.1 200 OK", "")
    assert of_get["content-length"] == str(len(text))
    for name in ("content-length", "content-type"):
        assert of_head[name] == of_get[name]


@pytest.mark.parametrize("path", ["/", "/pages", "/page/", "/page/more", "/..", "/%70age"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_not_there(method: str, path: str) -> None:
    status, headers, text = Bench().ask(f"{method} {path}")
    assert (status, text) == ("HTTP/1.1 404 Not Found", "not found\n")
    assert headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("head", "allowed"),
    [("POST /page", "GET, HEAD"), ("BREW /page", "GET, HEAD"), ("GET /deed", "POST"), ("HEAD /deed", "POST")],
)
def test_a_method_that_a_page_has_not(head: str, allowed: str) -> None:
    status, headers, text = Bench().ask(head)
    assert status == "HTTP/1.1 405 Method Not Allowed"
    assert headers["allow"] == allowed
    assert text == ("" if head.startswith("HEAD") else "method not allowed\n")


def test_a_page_for_another_method() -> None:
    assert Bench().ask("POST /deed")[2] == "{} 0\n"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_is_dropped(kind: str) -> None:
    assert Bench().ask("POST /deed", b"x" * LARGE, f"Content-Type: {kind}")[0] in (
        "HTTP/1.1 200 OK",
        "HTTP/1.1 400 Bad Request",
    )
    assert Bench().ask("GET /page", b"x" * LARGE)[2] == "{} 0\n"


def test_a_page_that_fails_tells_nothing() -> None:
    status, _, text = Bench().ask("GET /broken")
    assert status == "HTTP/1.1 500 Internal Server Error"
    assert "secret" not in text
    assert "Traceback" not in text


def test_what_is_not_http_is_refused() -> None:
    bench = Bench()
    transport = bench.connect()
    transport.protocol.dataReceived(b"\x4a\0\0\1 what a MySQL client says\r\n\r\n")
    assert b"400 Bad Request" in transport.value()
    assert not bench.site.protocols


def test_silent_connections_are_closed() -> None:
    bench = Bench()
    bench.connect()
    bench.clock.advance(IDLE_TIMEOUT - 1)
    assert len(bench.site.protocols) == 1
    bench.clock.advance(1)
    assert not bench.site.protocols
    assert bench.clock.getDelayedCalls() == []


def test_closing_ends_all_connections_and_leaves_nothing() -> None:
    bench = Bench()
    used, _ = bench.connect(), bench.connect()
    used.protocol.dataReceived(b"GET /page HTTP/1.1\r\nHost: admin\r\n\r\n")
    done: list[object] = []
    bench.site.close().addCallback(lambda _: done.append(bench.clock.getDelayedCalls()))
    assert done == [[]]


def test_closing_without_connections() -> None:
    bench = Bench()
    done: list[None] = []
    bench.site.close().addCallback(done.append)
    assert done == [None]
