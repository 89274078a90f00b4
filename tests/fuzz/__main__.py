"""``make soak``: a million clients at the door who do not know a password, until one is let in or something breaks."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time

from tests.fuzz.strangers import visits

AT_ONCE = 10_000
STUCK = 120
"""Seconds for that many, many times what they take: then one of them hangs."""


def main() -> int:
    """Run it; 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="make soak FUZZ_ARGS=...", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many clients (1000000)")
    parser.add_argument("--seed", type=int, default=0, help="the first one's; the others count on (0)")
    options = parser.parse_args()
    started, end = time.monotonic(), options.seed + options.inputs
    for first in range(options.seed, end, AT_ONCE):
        faulthandler.dump_traceback_later(STUCK, exit=True)
        try:
            visits(first, min(AT_ONCE, end - first))
        except AssertionError as wrong:
            print(f"strangers: {wrong}", flush=True)
            return 1
    faulthandler.cancel_dump_traceback_later()
    print(f"strangers: {options.inputs} have come, none was let in, {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
