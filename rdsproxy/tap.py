"""``twistd rdsproxy`` and ``twist rdsproxy``: the options, the service, and how a start that fails ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn, TextIO, cast

import structlog
from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver, LogLevel
from twisted.python.logfile import LogFile
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from .config import Config, ConfigError, load
from .errors import StartError
from .logging import configure, log_observer
from .open_files import allow_open_files

_log = structlog.get_logger("rdsproxy")


class Options(UsageOptions):
    """What follows ``rdsproxy`` on the command line."""

    synopsis = "[--config FILE | --target HOST:PORT --listen ENDPOINT --secret file:PATH]"
    optParameters = [
        ["config", "c", None, "The configuration, a TOML file."],
        ["target", None, None, "Without --config: the database, as HOST:PORT."],
        [
            "secret",
            None,
            None,
            'Without --config: "file:" and the path of a JSON file with username and password.',
        ],
    ]

    configuration: Config

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []

    def opt_listen(self, description: str) -> None:
        """Without --config: where clients connect, a Twisted endpoint such as tcp:3306; may be repeated."""
        self["listen"].append(description)

    def postOptions(self) -> None:
        """Read the configuration.

        Options that do not fit together raise ``UsageError``. A bad configuration ends the process instead, with
        its problems on stderr and status 1: the list of options would only push them out of sight.
        """
        quick = {name: self[name] for name in ("target", "listen", "secret")}
        given = [f"--{name}" for name, value in quick.items() if value]
        if self["config"] and given:
            raise UsageError(f"--config and {given[0]} exclude each other")
        if not self["config"] and len(given) < len(quick):
            raise UsageError("needs --config, or all of --target, --listen and --secret")
        try:
            self.configuration = load(self["config"]) if self["config"] else Config.quick(**quick)
        except ConfigError as error:
            raise SystemExit("\n".join(f"rdsproxy: {problem}" for problem in error.problems)) from None


def makeService(options: Options) -> IService:
    """Make the service that a runner starts: the proxy, its log in our form, its start errors as one line."""
    from twisted.internet import reactor

    from .service import ProxyService

    config = options.configuration
    debug = config.proxy.debug_logging
    runner = cast(MutableMapping[str, Any], options.parent)
    configure(debug=debug)
    if "nodaemon" in runner:
        starting: Starting = StartingUnderTwistd(runner, debug=debug)
    else:
        _log_through_twist(runner, debug=debug)
        starting = Starting()  # type: ignore[no-untyped-call]
    allow_open_files(config.proxy.max_client_connections)
    ProxyService(config, reactor=reactor).setServiceParent(starting)  # type: ignore[no-untyped-call]
    return starting


class StartFailed(SystemExit, Exception):  # noqa: N818 - it is what ends the process
    """Ends the process with status 1 and no traceback.

    Also an ``Exception``, as twistd removes its pid file, and tells a waiting parent process, only for those.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1


class Starting(MultiService):
    """Starts what is in it, and turns a ``StartError`` into one line on stderr and exit status 1."""

    def privilegedStartService(self) -> None:
        """Start what needs privileges."""
        with self._one_line():
            super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Start the rest."""
        with self._one_line():
            super().startService()  # type: ignore[no-untyped-call]

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except StartError as error:
            self.fail(str(error))

    def fail(self, message: str) -> NoReturn:
        """Say *message* and end the process. twist starts services before its log, so stderr is the place."""
        print(f"rdsproxy: {message}", file=sys.__stderr__)
        raise StartFailed(message)


class StartingUnderTwistd(Starting):
    """The same under twistd, which starts its log first, and takes the log observer from the application."""

    def __init__(self, twistd: MutableMapping[str, Any], *, debug: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._debug = debug
        self._chosen_by_user = bool(twistd["logger"] or twistd.get("syslog"))
        self._foreground = bool(twistd["nodaemon"])
        self._file = twistd["logfile"] or ("-" if self._foreground else "twistd.log")

    def setServiceParent(self, parent: Any) -> None:
        """Join the application *parent* and give it our log observer, unless the user chose one."""
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
        # That a daemon cannot log to stdout twistd says itself.
        if not self._chosen_by_user and (self._file != "-" or self._foreground):
            parent.setComponent(ILogObserver, log_observer(self._stream(), debug=self._debug))

    def fail(self, message: str) -> NoReturn:
        """Log *message* and end the process; say it on stderr too if the log is elsewhere."""
        _log.critical(message)
        if self._file != "-":
            print(f"rdsproxy: {message}", file=sys.__stderr__)
        raise StartFailed(message)

    def _stream(self) -> TextIO:
        if self._file == "-":
            return sys.stdout
        try:
            file = LogFile.fromFullPath(self._file)
        except OSError as error:
            raise SystemExit(f"rdsproxy: {self._file}: {error.strerror}") from None
        _rotate_on_sigusr1(file)
        return cast(TextIO, file)


def _rotate_on_sigusr1(file: LogFile) -> None:
    """Do for our log file what twistd does for its own."""
    if signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL:
        return

    def rotate(number: int, frame: object) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

    signal.signal(signal.SIGUSR1, rotate)


def _log_through_twist(twist: MutableMapping[str, Any], *, debug: bool) -> None:
    """Have twist make its log observer by us. ``--log-file``, ``--log-level`` and ``--log-format`` keep their sense."""
    # twist fills in a format by looking at stdout; only another one was asked for by the user.
    guessed = "text" if sys.stdout.isatty() else "json"
    form = None if twist["logFormat"] == guessed else twist["logFormat"]
    twist["fileLogObserverFactory"] = partial(log_observer, form=form, debug=True)
    if debug and twist["logLevel"] is LogLevel.info:
        twist["logLevel"] = LogLevel.debug
