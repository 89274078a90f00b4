"""``python -m tests.bench``: measure, print, save under var/bench."""

from __future__ import annotations

import datetime
import json
import os
import pstats
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path

from tests.bench import sysbench
from tests.bench.contestant import Contestant, Direct
from tests.bench.haproxy import HAProxy
from tests.bench.machine import SERVER_CONNECTIONS, SERVER_OPTIONS, describe
from tests.bench.measure import Result, measure
from tests.bench.options import Options, parse_arguments
from tests.bench.plan import Cell, estimate, make_plan
from tests.bench.processes import BenchError
from tests.bench.rdsproxy import RdsProxy
from tests.bench.report import RESULTS, as_data, section
from tests.bench.router import NO_PASSWORD, Router
from tests.bench.sysbench import Login
from tests.servers import DatabaseServer, InstallError, MariaDB, MySQL, ServerError


def main() -> None:
    """Run what the command line says; exit with a line about what is missing or went wrong."""
    options = parse_arguments()
    # SIGTERM as Ctrl-C: whatever runs is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Debian keeps mariadbd and haproxy where not every user's PATH leads.
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    # 512 clients have two connections each in a proxy, which inherits this.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        bench(options)
    except (BenchError, InstallError, ServerError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit("bench: interrupted; everything is stopped")


def bench(options: Options) -> None:
    """Start the servers, measure cell after cell, print and save."""
    if not shutil.which("sysbench"):
        raise BenchError("sysbench is not installed (Debian: apt-get install sysbench)")
    RESULTS.mkdir(parents=True, exist_ok=True)
    saved = RESULTS / datetime.datetime.now().strftime("%Y-%m-%dT%H%M%S")
    profile = saved.with_suffix(".profile").absolute() if options.profile else None
    contestants = _available(options, profile)
    plan = make_plan(options.database, list(contestants), options.workloads, options.clients)
    if not plan:
        raise BenchError("nothing is left to measure")
    print(f"bench: about {estimate(plan, options.rounds, options.seconds) / 60:.0f} minutes", flush=True)

    results: list[Result] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rdsproxy-bench-")))
        servers: dict[str, DatabaseServer] = {}
        for kind in dict.fromkeys(cell.database for cell in plan):
            servers[kind] = stack.enter_context(_server(kind))
        header = describe(servers.values(), contestants.values(), options.rounds, options.seconds)
        if profile:
            header["profile"] = "rdsproxy ran under cProfile: its figures here are no measurement"
        text = ["# Benchmark", "", *(f"- {name}: {value}" for name, value in header.items()), ""]
        print("\n".join(text), flush=True)
        for (kind, workload), cells in groupby(plan, key=lambda cell: (cell.database, cell.workload)):
            part = [_measure(cell, servers[kind], contestants, folder, options) for cell in cells]
            lines = section(workload, kind, contestants, part)
            print("\n".join(lines), flush=True)
            results += part
            text += lines
            # After each section: an interrupted run keeps what it has.
            saved.with_suffix(".md").write_text("\n".join(text))
            saved.with_suffix(".json").write_text(json.dumps(as_data(header, results), indent=1))
    print(f"bench: saved as {saved}.md and {saved}.json")
    if profile:
        _show_profile(profile)


def _available(options: Options, profile: Path | None) -> dict[str, Contestant]:
    """Return the contestants that are wanted and installed; say which are not."""
    every: list[Contestant] = [Direct(), RdsProxy(profile), HAProxy(), Router()]
    wanted = [contestant for contestant in every if contestant.name in options.contestants]
    for contestant in wanted:
        if contestant.missing:
            print(f"bench: without {contestant.name}: {contestant.missing}")
    return {contestant.name: contestant for contestant in wanted if not contestant.missing}


@contextmanager
def _server(kind: str) -> Iterator[DatabaseServer]:
    """Run a server with the tables and accounts that the loads need."""
    make = MariaDB if kind == "mariadb" else MySQL
    with make(max_connections=SERVER_CONNECTIONS, options=SERVER_OPTIONS) as server:
        sysbench.prepare(Login(server.port, server.user, server.database))
        if kind == "mysql":
            server.create_user(NO_PASSWORD.name, NO_PASSWORD.password)
        yield server


def _measure(
    cell: Cell,
    server: DatabaseServer,
    contestants: Mapping[str, Contestant],
    folder: Path,
    options: Options,
) -> Result:
    begun = time.monotonic()
    result = measure(
        cell, server, contestants, folder / "cell", rounds=options.rounds, seconds=options.seconds, say=_say
    )
    _say(f"{cell.workload.name}, {cell.clients} clients on {cell.database}: {time.monotonic() - begun:.0f} s")
    return result


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show_profile(profile: Path) -> None:
    if not profile.exists():
        raise BenchError(f"the proxy left no profile at {profile}")
    pstats.Stats(str(profile)).sort_stats("tottime").print_stats(40)
    print(f"bench: profile saved as {profile} (read it with python -m pstats)")


if __name__ == "__main__":
    main()
