"""``python -m tests.doctor.examiner``: examines one configuration for each line of JSON that it reads.

A process of its own, as Twisted's TLS wants the installed reactor; one for all tests, as to start it takes a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from twisted.internet.defer import Deferred

from rdsproxy.config import from_dict
from rdsproxy.doctor.examination import examine
from rdsproxy.doctor.finding import Finding, Level
from tests import planted
from tests.doctor.patient import Report
from tests.integration.proxy import ROOT


class Examiner:
    """The process, for as long as the block runs. Called with a configuration it gives the report."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.doctor.examiner"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()  # the end of its input ends it

    def __call__(self, config: Mapping[str, Any]) -> Report:
        """Examine it, in the environment that this process has now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([dict(os.environ), config]) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        report = Report([Finding(**one | {"level": Level(one["level"])}) for one in found])
        planted.keep("doctor", str(report))
        print(report)  # pytest shows it where a test fails
        return report


def main() -> None:
    """Answer, until the input ends."""
    from twisted.internet import reactor as installed
    from twisted.internet.threads import blockingCallFromThread

    reactor: Any = installed

    def examined(config: Mapping[str, Any]) -> Deferred[list[Finding]]:
        return Deferred.fromCoroutine(examine(from_dict(config), reactor))

    def answer_all() -> None:
        for line in sys.stdin:
            environment, config = json.loads(line)
            os.environ.clear()
            os.environ.update(environment)
            found: list[Finding] = blockingCallFromThread(reactor, examined, config)
            print(json.dumps([asdict(finding) for finding in found]), flush=True)
        reactor.callFromThread(reactor.stop)

    reactor.callInThread(answer_all)
    reactor.run()


if __name__ == "__main__":
    main()
