"""So many connections at a time that mean no good, until the input ends: ``python -m tests.flood.attackers``.

A process of its own, so that its CPU time is not that of the clients it is measured beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache

from rdsproxy.protocol.handshake import HandshakeResponse, SSLRequest
from tests.fuzz.clients import CAPABILITIES, Place, RawClient
from tests.fuzz.streams import packet, random_stream

SSL_REQUEST = packet(SSLRequest(CAPABILITIES, 1 << 24, 45).build(), 1)


@cache
def client_hello() -> bytes:
    """Give what a client says first in TLS: the server answers by a key exchange and a signature."""
    out = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


async def silent(client: RawClient, chance: random.Random) -> None:
    """Say nothing."""


async def half(client: RawClient, chance: random.Random) -> None:
    """Stop in the middle: of the response to the greeting, of a long packet, of TLS."""
    greeting = await client.greeting()
    response = client.response(greeting, CAPABILITIES)
    await client.send(
        chance.choice(
            (
                response[: chance.randrange(1, len(response))],
                (60_000).to_bytes(3, "little") + b"\1" + bytes(30_000),
                SSL_REQUEST,
                SSL_REQUEST + client_hello(),
            )
        )
    )


async def garbage(client: RawClient, chance: random.Random) -> None:
    """Answer the greeting by noise, or do not even wait for it."""
    if chance.random() < 0.7:
        await client.packet()
    await client.send(random_stream(chance, 1))


async def wrong(client: RawClient, chance: random.Random) -> None:
    """Guess a password, as one of few users or as one made up each time, to the last step of whichever plugin."""
    await client.packet()
    user = client.place.user if chance.random() < 0.5 else f"user{chance.randrange(1 << 32)}"
    native = chance.random() < 0.5
    response = HandshakeResponse(
        capabilities=CAPABILITIES,
        max_packet_size=1 << 24,
        charset=45,
        user=user.encode(),
        auth_response=chance.randbytes(20 if native else 32),
        auth_plugin="mysql_native_password" if native else "caching_sha2_password",
    )
    await client.send(packet(response.build(), 1))
    sequence = 3
    for _ in range(4):
        answer = await client.packet()
        if answer[:1] == b"\xff":
            return
        if answer[:1] == b"\xfe":
            said = chance.randbytes(20 if b"native" in answer else 32)
        elif answer == b"\x01\x04":
            said = b"\x02"
        else:
            # The proxy's RSA key is 2048 bits long.
            said = chance.randbytes(256)
        await client.send(packet(said, sequence))
        sequence += 2


SOURCE = "127.0.0.3"
"""Where attackers come from, and nobody else."""

KINDS: dict[str, Callable[[RawClient, random.Random], Awaitable[None]]] = {
    "silent": silent,
    "half": half,
    "garbage": garbage,
    "wrong": wrong,
}


class Flood:
    """`count` attackers at a time, in equal parts of each of `kinds`, each back `pause` seconds after its last end."""

    def __init__(self, place: Place, kinds: list[str], count: int, pause: float) -> None:
        self._place = place
        self._kinds = kinds
        self._count = count
        self._pause = pause
        self.connected: Counter[str] = Counter()
        """How often, by kind."""

    async def run(self, stopped: Awaitable[object]) -> None:
        """Go on until `stopped`. The attackers are then left as they are."""
        attackers = [asyncio.create_task(self._attacker(number)) for number in range(self._count)]
        await stopped
        assert not any(attacker.done() for attacker in attackers)

    async def _attacker(self, number: int) -> None:
        chance = random.Random(number)
        kind = self._kinds[number % len(self._kinds)]
        while True:
            client = RawClient(self._place)
            try:
                await client.connect()
                self.connected[kind] += 1
                await KINDS[kind](client, chance)
                await client.rest()
            except (OSError, EOFError, AssertionError, ValueError):
                pass  # the proxy may do what it likes to such a one
            finally:
                client.close()
            await asyncio.sleep(self._pause)


async def main() -> None:
    """Attack until the input ends; say how often each kind has connected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True, help="whose password is guessed")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--pause", type=float, required=True)
    parser.add_argument("--kinds", default=",".join(KINDS))
    options = parser.parse_args()
    place = Place(options.host, options.port, options.user, "", SOURCE)
    flood = Flood(place, options.kinds.split(","), options.count, options.pause)
    await flood.run(asyncio.get_running_loop().run_in_executor(None, sys.stdin.read))
    print(json.dumps(flood.connected), flush=True)
    # All connections end at once, in whatever state they are.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
