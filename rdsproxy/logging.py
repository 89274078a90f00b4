"""One log for the proxy and for Twisted: JSON lines, or text where a person reads at a terminal.

rdsproxy logs with structlog, Twisted with ``twisted.logger``. ``configure`` makes structlog's events Twisted ones, so
that whatever observes Twisted's log sees both; ``log_observer`` writes them all in one form. Only the command line
calls these two: an application that embeds the proxy decides for itself what becomes of its log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partialmethod
from typing import Any, Literal, TextIO

import structlog
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure

Form = Literal["json", "text"]

_LEVELS = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "critical",
}
# A client chooses its name and attributes; at a terminal they must not move the cursor.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def configure(*, debug: bool = False) -> None:
    """Send structlog's events into Twisted's log; those of level debug only if *debug*."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=_TwistedLogger,
        cache_logger_on_first_use=False,
    )


def log_observer(stream: TextIO, *, form: Form | None = None, debug: bool = False) -> ILogObserver:
    """Make the observer that writes each event to *stream*.

    *form* defaults to ``"text"`` if *stream* is a terminal, else ``"json"``: an object a line with ``timestamp``
    (UTC), ``level``, ``logger``, ``event``, ``exception`` if there is one, and what was bound, such as ``client``
    and ``backend``. Events of level debug are left out unless *debug*.
    """
    terminal = _is_terminal(stream)
    if form is None:
        form = "text" if terminal else "json"
    render = _text(colors=terminal) if form == "text" else _json

    def line(event: LogEvent) -> str | None:
        if event.get("log_level") is LogLevel.debug and not debug:
            return None
        return f"{render(_fields(event))}\n"

    return FileLogObserver(stream, line)


class _TwistedLogger:
    """Where structlog's events leave it: each becomes one of Twisted's, which keeps the fields apart."""

    def __init__(self, name: str = "rdsproxy") -> None:
        self._log = Logger(namespace=name)

    def _emit(self, level: Any, **fields: Any) -> None:
        self._log.emit(level, "{structlog}", structlog=_Fields(fields))

    debug = partialmethod(_emit, LogLevel.debug)
    info = partialmethod(_emit, LogLevel.info)
    warning = partialmethod(_emit, LogLevel.warn)
    error = partialmethod(_emit, LogLevel.error)
    critical = partialmethod(_emit, LogLevel.critical)


class _Fields(dict[str, Any]):
    """An event of structlog. Observers other than ours write it as text."""

    def __str__(self) -> str:
        details = " ".join(f"{key}={value!r}" for key, value in self.items() if key not in ("event", "exception"))
        first = f"{self.get('event')} {details}".rstrip()
        return f"{first}\n{self['exception']}" if "exception" in self else first


def _fields(event: LogEvent) -> dict[str, Any]:
    """What to write of *event*, in order."""
    namespace = event.get("log_namespace")
    fields = {
        "timestamp": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": _LEVELS.get(event.get("log_level"), "info"),
        "logger": "twisted" if namespace == "log_legacy" else namespace,
    }
    ours = event.get("structlog")
    if isinstance(ours, _Fields):
        return {**fields, "event": ours.get("event"), **ours}
    if "log_failure" in event:
        failure, text = event["log_failure"], formatEvent(event)
    elif event.get("isError") and "failure" in event:
        # From twisted.python.log.err, whose formatted text would repeat the traceback.
        failure, text = event["failure"], event.get("why") or "Unhandled Error"
    else:
        return {**fields, "event": formatEvent(event)}
    return {**fields, "event": text, "exception": failure.getTraceback().rstrip()}


def _text(*, colors: bool) -> Callable[[dict[str, Any]], str]:
    console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)

    def render(fields: dict[str, Any]) -> str:
        return str(console(None, "", {key: _harmless(value) for key, value in fields.items()}))

    return render


def _harmless(value: Any) -> Any:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value) if isinstance(value, str) else value


def _json(fields: dict[str, Any]) -> str:
    return str(_dumps(None, "", fields))


_dumps = structlog.processors.JSONRenderer()


def _is_terminal(stream: TextIO) -> bool:
    # Twisted's LogFile, which is no TextIO in all respects, has no isatty.
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def log_unexpected(log: Any, failure: Failure) -> None:
    """Log a failure that nothing in the proxy foresaw, with its traceback."""
    log.error("unexpected failure", exc_info=(failure.type, failure.value, failure.getTracebackObject()))
