"""``make soak``: many scripts on both servers, until one shows a difference."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from hypothesis import given, seed, settings

from tests.differential.compare import comparing
from tests.differential.scripts import scripts
from tests.differential.test_differential import SETTINGS
from tests.servers import DatabaseServer, MariaDB, MySQL


def main() -> int:
    """Run it; 1 if there was a difference."""
    parser = argparse.ArgumentParser(prog="make soak SOAK_ARGS=...", description=__doc__)
    parser.add_argument("--scripts", type=int, default=500, help="how many for each server (500)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="to have the same scripts again")
    parser.add_argument("--server", choices=["mariadb", "mysql"], help="one of them instead of both")
    parser.add_argument("--only", default="", help="these kinds of commands alone, separated by commas")
    options = parser.parse_args()
    only = frozenset(filter(None, options.only.split(",")))
    failed = False
    for kind in (MariaDB, MySQL):
        if options.server in (None, kind.kind):
            with kind() as server:
                failed |= not soak(server, options.scripts, options.seed, only)
    return failed


def soak(server: DatabaseServer, count: int, number: int, only: frozenset[str]) -> bool:
    """Tell whether ``count`` scripts gave the same on both sides."""
    with tempfile.TemporaryDirectory() as folder, comparing(server, Path(folder)) as comparison:
        test = given(scripts(server.kind, only))(comparison.check)
        test = seed(number)(settings(SETTINGS, max_examples=count, derandomize=False)(test))
        try:
            test()
        except AssertionError as difference:
            print(f"{server.kind}, seed {number}: {difference}", flush=True)
            return False
        finally:
            print(f"{server.kind}, seed {number}: {comparison.statements} statements on each side", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
