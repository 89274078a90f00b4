"""AWS STS as far as GetCallerIdentity goes, over HTTP or TLS: it verifies signatures, by botocore."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rdsproxy.iam.sts_token import binding
from tests.iam.tokens import HOST, KEY_ID, REGION, SECRET, presigned
from tests.servers import Certificates

STS_HOST: Final = f"sts.{REGION}.amazonaws.com"
ROLE: Final = "arn:aws:iam::123456789012:role/orders"
SESSION_KEY_ID: Final = "ASIAPLANTEDKEY000002"
SESSION: Final = "Planted-session-token"
STRANGER: Final = "AKIAPLANTEDKEY000003"
CALLERS: Final = {
    KEY_ID: (None, "arn:aws:iam::123456789012:user/team/batch"),
    SESSION_KEY_ID: (SESSION, "arn:aws:sts::123456789012:assumed-role/orders/pod-1"),
    STRANGER: (None, "arn:aws:iam::123456789012:user/stranger"),
}
"""Who has which access key: its session token and ARN. All have the same secret access key."""
_numbers = count()
_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"


def sign_sts(
    user: str = "app",
    *,
    proxy: str = HOST,
    sts: str = STS_HOST,
    region: str = REGION,
    key_id: str = SESSION_KEY_ID,
    secret: str = SECRET,
    session: str | None = SESSION,
    service: str = "sts",
    action: str = "GetCallerIdentity",
    expires: int | None = None,
    age: float = 0.0,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """Sign a token as any AWS tool can, `age` seconds ago. No two are alike, unless `expires` is."""
    request = AWSRequest(
        method,
        f"https://{sts}/",
        params={"Action": action, "Version": "2011-06-15", **(more or {})},
        headers=binding(proxy, user) if headers is None else headers,
    )
    lifetime = 899 - next(_numbers) % 599 if expires is None else expires
    return presigned(request, Credentials(key_id, secret, session), service, region, lifetime, age)


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What is said to one."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class STS:
    """Runs within the block, at `url`. `answer` replaces what it says; `held` while it is clear holds answers back."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        self.asked: list[Asked] = []
        self.news = threading.Condition()
        self.answer: Callable[[Asked], Answer] = answer
        self.held = threading.Event()
        self.held.set()
        self._closed = False
        sts = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
                with sts.news:
                    sts.asked.append(asked)
                    sts.news.notify_all()
                sts.held.wait(60)
                if sts._closed:
                    self.close_connection = True
                    return
                said = sts.answer(asked)
                self.send_response(said.status)
                for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.body)

            do_GET = do_POST = handle_any

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that leaves before the answer, or does not like the certificate

        self._server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificates is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.certificate, certificates.private_key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Answer no more, neither on new connections nor on those that are there."""
        self._closed = True
        self.held.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, number: int) -> None:
        """Wait until this many requests have come."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.asked) >= number, 30), self.asked


def environment(url: str) -> dict[str, str]:
    """Give the variables that lead to the STS at `url`."""
    return {"AWS_ENDPOINT_URL_STS": url, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}


def answer(asked: Asked) -> Answer:
    """Answer as AWS does: who signed that, or what is wrong with the signature, at length."""
    path, _, query = asked.target.partition("?")
    parameters = dict(parse_qsl(query))
    if (parameters.get("Action"), parameters.get("Version")) != ("GetCallerIdentity", "2011-06-15"):
        return refusal(400, "InvalidAction", asked)
    if "X-Amz-Credential" not in parameters:
        return refusal(403, "MissingAuthenticationToken", asked)
    key_id, _, region, service, _ = parameters["X-Amz-Credential"].split("/")
    session = parameters.get("X-Amz-Security-Token")
    if key_id not in CALLERS or CALLERS[key_id][0] != session:
        return refusal(403, "InvalidClientTokenId", asked)
    signed = parameters["X-Amz-SignedHeaders"].split(";")
    if any(name not in asked.headers for name in signed):
        return refusal(403, "SignatureDoesNotMatch", asked)
    at = datetime.strptime(parameters["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    request = AWSRequest(
        asked.method,
        f"https://{asked.headers['host']}{path}",
        params={name: value for name, value in parameters.items() if not name.startswith("X-Amz-")},
        headers={name: asked.headers[name] for name in signed if name != "host"},
    )
    now = datetime.now(UTC)
    expected = presigned(
        request,
        Credentials(key_id, SECRET, session),
        service,
        region,
        int(parameters["X-Amz-Expires"]),
        (now - at).total_seconds(),
    )
    if dict(parse_qsl(expected.partition("?")[2]))["X-Amz-Signature"] != parameters["X-Amz-Signature"]:
        return refusal(403, "SignatureDoesNotMatch", asked)
    # As AWS, and not as a presigned request to other services: how long it lives is for whoever asks to look at.
    if now - at > timedelta(minutes=15):
        return refusal(403, "ExpiredToken", asked)
    return caller(CALLERS[key_id][1])


def caller(arn: str) -> Answer:
    """Say who it was."""
    return Answer(
        200,
        f'<GetCallerIdentityResponse xmlns="{_NAMESPACE}"><GetCallerIdentityResult><Arn>{escape(arn)}</Arn>'
        "<UserId>AROA</UserId><Account>123456789012</Account></GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>".encode(),
        {"Content-Type": "text/xml"},
    )


def refusal(status: int, code: str, asked: Asked) -> Answer:
    """Refuse, and quote what was asked, as AWS does."""
    message = escape(f"The Canonical String for this request should have been {asked.target}")
    return Answer(
        status,
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>".encode(),
        {"Content-Type": "text/xml"},
    )
