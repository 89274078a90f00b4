"""Nonsense from a database: it ends that connection, its client is told, and nobody else notices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from typing import cast

import pytest

from rdsproxy.protocol import capabilities as cap
from tests.fuzz import streams
from tests.fuzz.clients import BOUND, FORMS, Place, RawClient, in_batches
from tests.fuzz.conftest import CONNECTIONS, CONTROL, FUZZ
from tests.fuzz.middle import Middle
from tests.fuzz.watch import Control, descriptors, until
from tests.integration.proxy import Proxy
from tests.servers import DatabaseServer, MariaDB, User

REPLIES = 1_000  # random ones, and as many mutated ones, on sockets; in memory, test_login.py has 10,000 of each
WARM_UP = 250
MEMORY = 24 << 20  # bytes
PAUSE = 0.2  # seconds without an answer, after which a client may be waited for itself


async def session(place: Place, seed: int) -> None:
    """Log in, send some commands, and leave in order. However the database answers, that must come to an end."""
    chance = random.Random(seed)
    form = chance.choice(FORMS)
    client = RawClient(place)
    try:
        await client.log_in(form)
        commands = list(chance.choice(streams.SESSIONS))
        if chance.random() < 0.3:
            chance.shuffle(commands)
        await client.send(b"".join(commands) + streams.QUIT)
        if form & cap.CLIENT_LOCAL_FILES:
            # The proxy may have been made to believe that a file was asked for: then this ends it.
            while answer := await client.some(PAUSE):
                pass
            if answer is None:
                await client.send(streams.packet(b"", 1) + streams.QUIT)
        await client.rest()
    except EOFError:
        pass  # refused: no connection in time
    finally:
        client.close()


def sessions(place: Place, middle: Middle, each: int) -> Iterator[Callable[[], Awaitable[None]]]:
    """Give sessions until so many replies of each kind have been spoiled."""
    before = middle.done.copy()
    for seed in count():
        if all(middle.done[kind] - before[kind] >= each for kind in ("random", "mutated")):
            return
        yield partial(session, place, seed)


def test_nonsense_from_a_database(database_to_fuzz: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        Middle(database_to_fuzz.host, database_to_fuzz.port, User(CONTROL.name, CONTROL.password)) as middle,
        Proxy(
            # All that it takes of a server is where it listens, and who may look at it.
            cast(DatabaseServer, middle),
            tmp_path_factory.mktemp("spoiled"),
            max_connections=CONNECTIONS,
            accounts=(FUZZ, CONTROL),
            target_group={"connection_borrow_timeout": BOUND / 2, "tls.mode": "DISABLED"},
        ) as proxy,
    ):
        place = Place(proxy.host, proxy.port, FUZZ.name, FUZZ.password)
        for account in (FUZZ, CONTROL):
            proxy.connect(account).close()
        control = Control(proxy, CONTROL)
        with control.working():
            middle.begin()
            asyncio.run(in_batches(sessions(place, middle, WARM_UP)))
            files, memory = descriptors(proxy), proxy.memory()
            asyncio.run(in_batches(sessions(place, middle, REPLIES)))
            middle.end()
            until(lambda: descriptors(proxy) <= files + CONNECTIONS, "connections are still open")
            assert middle.connections <= CONNECTIONS + 1  # the monitor's
        assert proxy.memory() - memory < MEMORY
        with proxy.connect(FUZZ) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM fuzz")
            assert cursor.fetchall() == ((300,),)
        print(f"{middle.done} replies spoiled, {control.rounds} rounds of the control")
