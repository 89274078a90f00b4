"""The log: structlog's events and Twisted's in one form."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from twisted.logger import Logger, globalLogPublisher, textFileLogObserver
from twisted.python import log as legacy_log
from twisted.python.failure import Failure

from rdsproxy.interfaces import Credential
from rdsproxy.logging import configure, log_observer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


Observe = Callable[..., None]


@pytest.fixture
def observe() -> Iterator[Observe]:
    """Configure the log, and let the test add observers, until its end."""
    observers: list[Any] = []

    def add(observer: Any, *, debug: bool = False) -> None:
        configure(debug=debug)
        observers.append(observer)
        globalLogPublisher.addObserver(observer)

    yield add
    for observer in observers:
        globalLogPublisher.removeObserver(observer)
    structlog.reset_defaults()


@pytest.fixture
def stream(observe: Observe) -> io.StringIO:
    """What is not a terminal, observed."""
    written = io.StringIO()
    observe(log_observer(written))
    return written


def only_line(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert isinstance(fields, dict)
    return fields


def test_an_event_is_an_object_on_a_line(stream: io.StringIO) -> None:
    structlog.get_logger("rdsproxy.pool").bind(client=7, backend=12).warning("lost", reason="a\nb", raw=b"\xff")
    fields = only_line(stream)
    assert list(fields)[:4] == ["timestamp", "level", "logger", "event"]
    assert fields.pop("timestamp").endswith("+00:00")
    assert fields == {
        "level": "warning",
        "logger": "rdsproxy.pool",
        "event": "lost",
        "client": 7,
        "backend": 12,
        "reason": "a\nb",
        "raw": r"b'\xff'",
    }


def test_events_of_twisted_have_the_same_form(stream: io.StringIO) -> None:
    Logger(namespace="twisted.internet").warn("port {port} is odd", port=3307)
    fields = only_line(stream)
    assert fields.pop("timestamp").endswith("+00:00")
    assert fields == {"level": "warning", "logger": "twisted.internet", "event": "port 3307 is odd"}


def test_events_of_old_twisted_have_a_logger_too(stream: io.StringIO) -> None:
    legacy_log.msg("factory starting")
    fields = only_line(stream)
    assert (fields["level"], fields["logger"], fields["event"]) == ("info", "twisted", "factory starting")


def test_a_traceback_is_one_field(stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        failure = Failure()
        structlog.get_logger().exception("by structlog")
        structlog.get_logger().error("by tuple", exc_info=(failure.type, failure.value, failure.getTracebackObject()))
    Logger().failure("by Twisted", failure)
    legacy_log.err(failure, "by old Twisted")
    legacy_log.err(failure)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "by structlog",
        "by tuple",
        "by Twisted",
        "by old Twisted",
        "Unhandled Error",
    ]
    for line in lines:
        assert line["level"] in ("error", "critical")
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("ValueError: broken")


@pytest.mark.parametrize(("debug", "written"), [(False, ["info"] * 2), (True, ["debug", "info"] * 2)])
def test_debug_events_are_left_out_unless_asked_for(observe: Observe, debug: bool, written: list[str]) -> None:
    stream = io.StringIO()
    observe(log_observer(stream, debug=debug), debug=debug)
    for log in (structlog.get_logger(), Logger()):
        log.debug("small")
        log.info("large")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == written


def test_a_terminal_gets_text(observe: Observe) -> None:
    stream = Terminal()
    observe(log_observer(stream))
    structlog.get_logger("rdsproxy.client").info("client logged in", client=7)
    line = stream.getvalue()
    assert not line.startswith("{")
    assert "client logged in" in line
    assert "rdsproxy.client" in line
    assert "\x1b[" in line


def test_text_elsewhere_has_no_colours(observe: Observe) -> None:
    stream = io.StringIO()
    observe(log_observer(stream, form="text"))
    structlog.get_logger("rdsproxy.client").info("client logged in", client=7)
    assert stream.getvalue().rstrip().endswith("[info     ] client logged in               [rdsproxy.client] client=7")


def test_what_a_client_sends_cannot_steer_a_terminal(observe: Observe) -> None:
    stream = io.StringIO()
    observe(log_observer(stream, form="text"))
    structlog.get_logger().info("client logged in", program="\x1b[2Jevil\x9b", user="a\r\nlevel=critical")
    Logger().info("{program}", program="\x1b[2Jevil\x9b\r")
    assert stream.getvalue().count("\n") == 2
    assert not set(stream.getvalue()) & {"\x1b", "\x9b", "\r"}


def test_other_observers_get_readable_text(observe: Observe) -> None:
    stream = io.StringIO()
    observe(textFileLogObserver(stream))
    structlog.get_logger("rdsproxy.pool").info("lost", backend=12, reason="gone away")
    assert stream.getvalue().endswith("[rdsproxy.pool#info] lost backend=12 reason='gone away'\n")


def test_a_logged_credential_does_not_show_its_password(stream: io.StringIO) -> None:
    structlog.get_logger().info("login", credential=Credential("app", "hunter2"))
    assert "app" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_an_embedding_application_keeps_its_log() -> None:
    code = (
        "import sys, structlog, rdsproxy, rdsproxy.service, rdsproxy.tap;"
        "from twisted.logger import globalLogBeginner;"
        "sys.exit(structlog.is_configured() or globalLogBeginner._temporaryObserver is None)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
