"""Nonsense from clients: it ends the client's own connection, and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from rdsproxy.protocol.handshake import SSLRequest
from tests.fuzz import streams
from tests.fuzz.clients import CAPABILITIES, FORMS, QUIET, Place, RawClient, in_batches
from tests.fuzz.conftest import CONNECTIONS, CONTROL
from tests.fuzz.watch import Control, descriptors, descriptors_beside_the_pool, until
from tests.integration.proxy import Proxy

RANDOM_STREAMS = 5_000  # half of them before the login, half behind it; `make soak` has a million before it
MUTATED_STREAMS = 5_000
WARM_UP = 1_000
MEMORY = 24 << 20  # bytes by which the process may have grown, of which most is Python's heap in pieces


async def before_login(place: Place, seed: int, mutate: bool) -> None:
    """Answer the greeting by nonsense."""
    chance = random.Random(seed)
    client = RawClient(place)
    try:
        await client.connect()
        if mutate:
            greeting = await client.greeting()
            login = client.response(greeting, chance.choice(FORMS), chance.choice((b"app", b"", b"no_such_schema")))
            if chance.random() < 0.2:
                login = streams.packet(SSLRequest(CAPABILITIES, 1 << 24, 45).build(), 1) + login
            commands = b"".join(chance.choice(streams.SESSIONS))
            await client.send(streams.mutated(chance, login) + commands)
        else:
            if chance.random() < 0.7:
                await client.packet()
            if chance.random() < 0.1:
                await client.send(streams.packet(SSLRequest(CAPABILITIES, 1 << 24, 45).build(), 1))
            await client.send(streams.random_stream(chance, 1))
        await end(client, chance)
    finally:
        client.close()


async def after_login(place: Place, seed: int, mutate: bool) -> None:
    """Log in, then send nonsense in place of commands."""
    chance = random.Random(seed)
    client = RawClient(place)
    try:
        await client.log_in(chance.choice(FORMS))
        if mutate:
            session = list(chance.choice(streams.SESSIONS))
            at = chance.randrange(len(session))
            session[at] = streams.mutated(chance, session[at])
            if chance.random() < 0.3:
                chance.shuffle(session)
            await client.send(b"".join(session))
        else:
            await client.send(streams.random_stream(chance, 0, streams.COMMANDS))
        await end(client, chance)
    finally:
        client.close()


async def end(client: RawClient, chance: random.Random) -> None:
    """Leave at once, or when no more answers come, or by COM_QUIT; then the proxy must close."""
    way = chance.randrange(3)
    if way == 0:
        await client.send(streams.QUIT)
    while way and await client.some(QUIET):
        way = chance.randrange(3)
    client.leave()
    await client.rest()


def works(place: Place, random_count: int, mutated_count: int) -> Iterator[Callable[[], Awaitable[None]]]:
    """Give all that is to be done, the kinds mixed."""
    for seed in range(max(random_count, mutated_count) // 2):
        for mutate, count in ((False, random_count), (True, mutated_count)):
            if seed < count // 2:
                yield partial(before_login, place, seed, mutate)
                yield partial(after_login, place, seed, mutate)


def test_nonsense_from_clients(fuzzed_proxy: Proxy, place: Place) -> None:
    proxy = fuzzed_proxy
    control = Control(proxy, CONTROL)
    with control.working():
        # What is made once, and what the pool keeps, is there after this.
        asyncio.run(in_batches(works(place, WARM_UP // 2, WARM_UP // 2)))
        until(lambda: len(proxy.backends()) <= CONNECTIONS, "more connections than allowed")
        files, memory = descriptors_beside_the_pool(proxy), proxy.memory()
        asyncio.run(in_batches(works(place, RANDOM_STREAMS, MUTATED_STREAMS)))
        # Of the clients nothing is left but this control, of the database connections as many as before or fewer.
        until(lambda: descriptors(proxy) <= files + 2 * CONNECTIONS, "connections of clients are still open")
    assert proxy.memory() - memory < MEMORY
    # The server may still be busy with ending a connection that the proxy has closed and replaced.
    until(lambda: len(proxy.backends()) <= CONNECTIONS, "more connections than allowed")
    with proxy.connect(CONTROL) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM control")
        assert cursor.fetchall() == ((0,),)
    with proxy.server.admin() as admin, admin.cursor() as cursor:
        until(lambda: cursor.execute("SELECT 1 FROM information_schema.innodb_trx") == 0, "a transaction is open")
    # One less than there were: the control has left.
    until(lambda: descriptors_beside_the_pool(proxy) < files, "files are still open")
