"""``python -m tests.bench.failover``: measure, print, save under var/bench."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.failover.contestants import Contestant, available
from tests.bench.failover.events import Event
from tests.bench.failover.measure import BEFORE, BIN, PAUSE, Sample, measure
from tests.bench.failover.options import Options, parse_arguments
from tests.bench.failover.picture import Line, Panel, draw
from tests.bench.failover.report import Result, as_data, notes, table
from tests.bench.failover.scene import packets_can_be_dropped
from tests.bench.machine import commit, processor
from tests.bench.processes import BenchError
from tests.bench.report import RESULTS
from tests.servers import DatabaseServer, InstallError, MariaDB, MySQL, ServerError


def main() -> None:
    """Run what the command line says; exit with a line about what is missing or went wrong."""
    options = parse_arguments()
    # SIGTERM as Ctrl-C: whatever runs is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Debian keeps mariadbd and haproxy where not every user's PATH leads.
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    try:
        bench(options)
    except (BenchError, InstallError, ServerError) as error:
        sys.exit(f"bench-failover: {error}")
    except KeyboardInterrupt:
        sys.exit("bench-failover: interrupted; everything is stopped")


def bench(options: Options) -> None:
    """Measure round after round, each with every event and contestant; print and save."""
    begun = time.monotonic()
    RESULTS.mkdir(parents=True, exist_ok=True)
    saved = RESULTS / f"{datetime.datetime.now():%Y-%m-%dT%H%M%S}-failover"
    contestants = _installed(options)
    kind: type[DatabaseServer] = MariaDB if options.database == "mariadb" else MySQL
    results = {event.name: Result(event.name, list(contestants)) for event in options.events}
    load = os.getloadavg()[0]
    done = 0
    for number in range(options.rounds):
        for event in options.events:
            for name in _turned(list(contestants), number):
                if time.monotonic() > begun + options.limit:
                    break
                _measure(results[event.name], event, contestants[name], kind, number, options, saved)
                done += 1
    wanted = options.rounds * len(options.events) * len(contestants)
    if done < wanted:
        _say(f"{wanted - done} of {wanted} runs left out: {options.limit:.0f} s are over")
    header = _describe(options, kind, contestants, load, done)
    head = [f"- {name}: {value}" for name, value in header.items()]
    events = [f"- {event.name}: {event.what}" for event in options.events]
    every = list(results.values())
    text = ["# Failover", "", *head, "", *events, "", *table(every), "", *notes(every), ""]
    print("\n".join(text), flush=True)
    saved.with_suffix(".md").write_text("\n".join(text))
    saved.with_suffix(".json").write_text(json.dumps(as_data(header, every), indent=1))
    print(f"bench-failover: saved as {saved}.md and {saved}.json; the programs' logs are in {saved}/")
    if options.picture is not None:
        _draw(options.picture, options.events, every)
        print(f"bench-failover: the picture is {options.picture}")


def _installed(options: Options) -> dict[str, Contestant]:
    """Return the contestants that are wanted and installed; say which are not."""
    found = available(options.contestants)
    for contestant in found:
        if contestant.missing:
            print(f"bench-failover: without {contestant.name}: {contestant.missing}")
    return {contestant.name: contestant for contestant in found if not contestant.missing}


def _turned(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round: each comes first in its turn."""
    turn = number % len(names) if names else 0
    return [*names[turn:], *names[:turn]]


def _measure(
    result: Result,
    event: Event,
    contestant: Contestant,
    kind: type[DatabaseServer],
    number: int,
    options: Options,
    saved: Path,
) -> None:
    begun = time.monotonic()
    name = contestant.name
    with tempfile.TemporaryDirectory(prefix="rdsproxy-bench-") as made:
        folder = Path(made)
        try:
            sample = measure(
                event,
                contestant,
                kind,
                folder,
                number,
                clients=options.clients,
                delay=options.delay,
                timeout=options.timeout,
            )
        except BenchError as error:
            result.failures.setdefault(name, []).append(str(error))
            said = str(error)
        else:
            result.samples.setdefault(name, []).append(sample)
            said = _in_short(sample)
        finally:
            for log in folder.glob("*.log"):
                saved.mkdir(exist_ok=True)
                shutil.copy(log, saved / f"{event.name}-{name}-{number + 1}-{log.name}")
    _say(f"round {number + 1}, {event.name}, {name}: {said} ({time.monotonic() - begun:.1f} s)")


def _in_short(sample: Sample) -> str:
    first = "" if sample.first_write is None else f"first write after {sample.first_write:.2f} s, "
    return f"{first}outage {sample.outage:.2f} s, {sample.dropped} dropped, {sample.lost} lost"


def _describe(
    options: Options,
    kind: type[DatabaseServer],
    contestants: Mapping[str, Contestant],
    load: float,
    done: int,
) -> dict[str, str]:
    """Return names and values for the head of a report."""
    cores = len(os.sched_getaffinity(0))
    cut = "dropped packets" if packets_can_be_dropped() else "a relay that passes nothing"
    # Without the path of the program.
    version = kind().program_version().strip().rpartition("/")[2]
    header = {
        "machine": f"{cores} cores ({processor()}), Linux {platform.release()}, load {load:.1f} at the start",
        "shared": f"clients, proxy and both databases share the {cores} cores and talk over loopback",
        "rounds": f"{options.rounds}, {done} runs in all, each with new servers; medians, of errors the least and the "
        "most, of lost and doubled the most",
        "clients": f"{options.clients} that write, {PAUSE * 1000:.0f} ms between two writes, and wait "
        f"{options.timeout:g} s for an answer; 4 idle ones with much state",
        "promotion": f"{options.delay:g} s after the event, of a semi-synchronous replica; a switchover at once",
        "network": f"cut by {cut}",
        options.database: f"{version}, semi-synchronous replication by GTIDs",
        "commit": commit(),
    }
    for contestant in contestants.values():
        header[contestant.name] = ", ".join(filter(None, (contestant.version, contestant.setting)))
    return header


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _draw(path: Path, events: Sequence[Event], results: Sequence[Result]) -> None:
    panels = []
    for event, result in zip(events, results, strict=True):
        lines = []
        for name in result.contestants:
            sample = result.typical(name)
            if sample is not None:
                lines.append(Line(name, -BEFORE, BIN, sample.writes, sample.marks))
        panels.append(Panel(f"{event.name}: {event.what}", lines))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draw(f"Successful writes per {BIN * 1000:.0f} ms around a failover", panels))


if __name__ == "__main__":
    main()
