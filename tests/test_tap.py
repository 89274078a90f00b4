"""``twistd rdsproxy`` and ``twist rdsproxy``, as processes: how they start, log, refuse and end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.python.usage import UsageError

from rdsproxy.tap import Options
from tests.test_tls import SERVERS, settings

TOP = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
TWISTD, TWIST = ("twistd", "-n"), ("twist",)
both = pytest.mark.parametrize("runner", [TWISTD, TWIST], ids=lambda runner: runner[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a secret and a configuration whose only endpoint is a socket next to it."""
    (tmp_path / "app.json").write_text('{"username": "app", "password": "hunter2"}')
    (tmp_path / "rdsproxy.toml").write_text(
        f"""
        [proxy]
        handshake_timeout = 0.1
        [[proxy.endpoints]]
        listen = ["unix:{tmp_path}/mysql.sock"]
        [[proxy.auth]]
        secret = "file:app.json"
        [[target_group.targets]]
        host = "127.0.0.1"
        port = 1
        """
    )
    return tmp_path


def add(folder: Path, text: str) -> None:
    with (folder / "rdsproxy.toml").open("a") as config:
        config.write(text)


def command(runner: tuple[str, ...], *options: str) -> list[str]:
    program, *more = runner
    return [str(BIN / program), *more, *options]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{TOP}{os.pathsep}{folder}"}


def run(folder: Path, runner: tuple[str, ...], *options: str) -> subprocess.CompletedProcess[str]:
    """Run what is expected to end by itself."""
    return subprocess.run(
        command(runner, *options), cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )


@contextmanager
def running(folder: Path, runner: tuple[str, ...], *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(runner, *options),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines_until_listening(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "listening" in line:
            return lines
    assert process.stderr is not None
    pytest.fail(f"ended without listening: {lines} {process.stderr.read()}")


def visit(endpoint: Path) -> None:
    """Connect and wait until the proxy says something or hangs up: then its reactor runs."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(endpoint))
        # Whoever speaks before the greeting is answered at once, also while there is no database.
        client.sendall(b"\0")
        client.recv(1)


def end(process: subprocess.Popen[str]) -> str:
    """Ask the process to end; give the rest of what it writes to stdout and stderr."""
    process.send_signal(signal.SIGTERM)
    return "".join(process.communicate())


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the run said beyond the runner's own log lines; JSON lines as their text."""
    said = done.stderr.splitlines()
    for line in done.stdout.splitlines():
        fields = json.loads(line)
        if fields["logger"] == "rdsproxy":
            assert fields["level"] == "critical"
            said.append(f"rdsproxy: {fields['event']}")
        else:
            assert fields["logger"].startswith("twisted")
            assert fields["level"] == "info"
    return said


@both
def test_it_runs_until_it_is_stopped_with_one_log_in_json(folder: Path, runner: tuple[str, ...]) -> None:
    with running(folder, runner, "rdsproxy", "--config", "rdsproxy.toml") as process:
        lines = lines_until_listening(process)
        visit(folder / "mysql.sock")
        lines += end(process).splitlines()
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [event["logger"] for event in events if event["event"] == "listening"] == ["rdsproxy.service"]
    assert "twisted" in {event["logger"].partition(".")[0] for event in events}
    assert len({(event["timestamp"], event["event"]) for event in events}) == len(events), "no line twice"


@both
def test_the_quick_form_runs(folder: Path, runner: tuple[str, ...]) -> None:
    options = ("--target", "127.0.0.1:1", "--secret", "file:app.json")
    listen = ("--listen", f"unix:{folder}/a.sock", "--listen", f"unix:{folder}/b.sock")
    with running(folder, runner, "rdsproxy", *options, *listen) as process:
        lines_until_listening(process)
        for name in ("a.sock", "b.sock"):
            visit(folder / name)
        end(process)


@both
def test_a_port_in_use_stops_the_start_with_one_line(folder: Path, runner: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        listen = f"tcp:{busy.getsockname()[1]}:interface=127.0.0.1"
        add(folder, f'[[proxy.endpoints]]\nname = "busy"\nlisten = ["{listen}"]')
        done = run(folder, runner, "rdsproxy", "--config", "rdsproxy.toml")
    assert done.returncode == 1
    (line,) = complaints(done)
    assert line.startswith(f"rdsproxy: cannot listen on {listen}: ")
    assert line.endswith("Address already in use")
    assert not (folder / "twistd.pid").exists()


@both
def test_an_unreadable_certificate_stops_the_start_with_one_line(folder: Path, runner: tuple[str, ...]) -> None:
    settings(folder, SERVERS["name"])
    (folder / "server.key").unlink()
    add(folder, '[proxy.tls]\ncertificate = "server.pem"\nprivate_key = "server.key"')
    done = run(folder, runner, "rdsproxy", "--config", "rdsproxy.toml")
    assert done.returncode == 1
    assert complaints(done) == [f"rdsproxy: proxy.tls.private_key: {folder}/server.key: No such file or directory"]


@both
def test_a_bad_secret_stops_the_start_with_one_line(folder: Path, runner: tuple[str, ...]) -> None:
    (folder / "app.json").write_text('{"username": "app", "passwort": "hunter2"}')
    done = run(folder, runner, "rdsproxy", "--config", "rdsproxy.toml")
    assert done.returncode == 1
    assert complaints(done) == [f'rdsproxy: secret {folder}/app.json: has no "password"']


@both
def test_a_bad_configuration_is_refused_a_line_per_problem(folder: Path, runner: tuple[str, ...]) -> None:
    add(folder, "[target_group]\nmax_conections = 20\nmax_connections = 0")
    done = run(folder, runner, "rdsproxy", "--config", "rdsproxy.toml")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "rdsproxy: target_group.max_connections: should be greater than or equal to 1, not 0",
        "rdsproxy: target_group.max_conections: unknown key; did you mean max_connections?",
    ]


def test_a_daemon_that_cannot_start_says_so_to_its_caller_and_in_its_log(folder: Path) -> None:
    (folder / "app.json").unlink()
    done = run(folder, ("twistd",), "rdsproxy", "--config", "rdsproxy.toml")
    assert done.returncode == 1
    assert "StartFailed: secret " in done.stderr
    lines = [json.loads(line) for line in (folder / "twistd.log").read_text().splitlines()]
    assert lines[-1]["level"] == "critical"
    assert lines[-1]["event"] == f"secret {folder}/app.json: No such file or directory"
    assert not (folder / "twistd.pid").exists()


def test_a_log_file_of_twistd_is_written_in_our_form(folder: Path) -> None:
    (folder / "app.json").unlink()
    done = run(folder, TWISTD, "--logfile", "proxy.log", "rdsproxy", "--config", "rdsproxy.toml")
    line = f"secret {folder}/app.json: No such file or directory"
    assert json.loads((folder / "proxy.log").read_text().splitlines()[-1])["event"] == line
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"rdsproxy: {line}\n")


def test_a_log_file_is_rotated_on_a_signal(folder: Path) -> None:
    # As soon as a running reactor would: the signal's handler leaves the work to it.
    code = """
import signal
from twisted.internet import reactor
from rdsproxy.tap import StartingUnderTwistd
from twisted.application.service import Application
options = {"logger": None, "nodaemon": True, "logfile": "proxy.log"}
StartingUnderTwistd(options, debug=False).setServiceParent(Application("rdsproxy"))
signal.raise_signal(signal.SIGUSR1)
reactor.runUntilCurrent()
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(folder), check=True)
    assert {path.name for path in folder.glob("proxy.log*")} == {"proxy.log", "proxy.log.1"}


def test_a_log_file_that_cannot_be_written_is_one_line(folder: Path) -> None:
    done = run(folder, TWISTD, "--logfile", "none/proxy.log", "rdsproxy", "--config", "rdsproxy.toml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rdsproxy: ")
    assert done.stderr.endswith("none/proxy.log: No such file or directory\n")


def test_a_log_observer_of_the_users_choice_stays(folder: Path) -> None:
    (folder / "mylog.py").write_text(
        "import sys\n"
        "from twisted.logger import eventAsText, FileLogObserver\n"
        "def observer(): return FileLogObserver(sys.stdout, lambda event: f'mine {eventAsText(event)}\\n')\n"
    )
    options = ("--logger", "mylog.observer", "rdsproxy", "--config", "rdsproxy.toml")
    with running(folder, TWISTD, *options) as process:
        lines = lines_until_listening(process)
    assert all(line.startswith("mine ") for line in lines)
    assert "[rdsproxy.service#info] listening" in lines[-1]


def test_twist_keeps_the_sense_of_its_log_options(folder: Path) -> None:
    options = ("--log-format", "text", "--log-file", "+", "rdsproxy", "--config", "rdsproxy.toml")
    with running(folder, TWIST, *options) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "listening" in line)
    assert not line.startswith("{")
    assert "[rdsproxy.service]" in line


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "needs --config, or all of --target, --listen and --secret"),
        (["--target", "db:1", "--secret", "file:x"], "needs --config, or all of --target, --listen and --secret"),
        (["--config", "x", "--listen", "tcp:1"], "--config and --listen exclude each other"),
    ],
)
def test_options_that_do_not_fit_together(options: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Options().parseOptions(options)  # type: ignore[no-untyped-call]
