"""``make timing``: how long refusals take, for users who exist and others, each in turn, through a real proxy."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rdsproxy.protocol.handshake import AuthSwitchRequest
from tests.iam.proxy import IAMProxy
from tests.integration.logins import Login
from tests.integration.packets import error_code
from tests.integration.proxy import Account, Plugin, Proxy
from tests.servers import Certificates, MariaDB, make_certificates
from tests.timing.ranks import rank_sum

KNOWN, UNKNOWN = "existing_user", "imagined_user"
ALIKE = 0.01
"""Probability below which two samples are said to differ. One comparison in a hundred falls below by chance."""
PLUGINS: tuple[Plugin, ...] = ("MYSQL_NATIVE_PASSWORD", "MYSQL_CACHING_SHA2_PASSWORD")


def refusal(proxy: Proxy, user: str, certificates: Certificates | None) -> float:
    """Give the seconds from the answer to the greeting to the error, with a wrong password or token."""
    with Login(proxy.host, proxy.port) as login:
        if certificates is not None:
            login.start_tls(certificates)
        plugin = login.greeting.auth_plugin
        began = time.perf_counter()
        answer = login.respond(user, login.scramble(plugin, "wrong"), plugin)
        if answer[:1] == b"\xfe":
            asked = AuthSwitchRequest.parse(answer)
            login.nonce = asked.data[:20]
            clear = asked.plugin == "mysql_clear_password"
            login.send(b"no token\0" if clear else login.scramble(asked.plugin, "wrong"))
            answer = login.receive()
        if answer == b"\x01\x04":
            answer = login.full("wrong", encrypted=certificates is None)
        took = time.perf_counter() - began
        assert error_code(answer) == 1045, answer
        return took


def compare(proxy: Proxy, what: str, samples: int, certificates: Certificates | None) -> bool:
    """Measure both users in random order, say what came out, and tell whether they look alike."""
    times: dict[str, list[float]] = {KNOWN: [], UNKNOWN: []}
    for user in (KNOWN, UNKNOWN) * 20:
        refusal(proxy, user, certificates)
    turns = [KNOWN, UNKNOWN] * samples
    random.shuffle(turns)
    for user in turns:
        times[user].append(refusal(proxy, user, certificates))
    probability = rank_sum(times[KNOWN], times[UNKNOWN])
    known, unknown = (statistics.median(times[user]) * 1e6 for user in (KNOWN, UNKNOWN))
    print(
        f"{what}, {samples} each: median {known:.1f} us known, {unknown:.1f} us unknown,"
        f" {known - unknown:+.1f}; probability {probability:.3f}",
        flush=True,
    )
    return probability >= ALIKE


def main() -> int:
    """Measure each way to log in; 1 if a known user and an unknown one can be told apart."""
    parser = argparse.ArgumentParser(prog="make timing TIMING_ARGS=...", description=__doc__)
    parser.add_argument("--samples", type=int, default=2000, help="of each user, for each way to log in (2000)")
    options = parser.parse_args()
    alike = True
    with tempfile.TemporaryDirectory() as folder, MariaDB() as server:
        tls = make_certificates(Path(folder) / "tls")
        settings = {"max_failed_logins": 10 * options.samples}
        for plugin in PLUGINS:
            account = Account(KNOWN, "Known-Password-6", plugin)
            server.create_user(account.name, account.password)
            with Proxy(server, Path(folder), tls=tls, accounts=[account], proxy=settings) as proxy:
                for certificates in (None, tls):
                    what = f"{plugin}{', TLS' if certificates else ''}"
                    alike &= compare(proxy, what, options.samples, certificates)
        account = Account(KNOWN, "Known-Password-6", PLUGINS[1])
        with IAMProxy(server, Path(folder), [account], tls=tls, proxy=settings) as iam:
            alike &= compare(iam, "IAM token, TLS", options.samples, tls)
    return not alike


if __name__ == "__main__":
    sys.exit(main())
