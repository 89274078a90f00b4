"""The proxy has as many open files as its clients may need, whatever the shell that starts it allows."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.proxy import Proxy
from tests.servers import DatabaseServer

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
USUAL = 1024


@contextmanager
def soft_limit(files: int) -> Iterator[None]:
    """What is started meanwhile may have so many open files, unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def allowed(proxy: Proxy) -> int:
    """Give how many open files its process may have."""
    soft, _ = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
    return soft


def test_the_limit_is_raised_and_never_lowered(server: DatabaseServer, folder: Path) -> None:
    for clients, files in ((2000, 3000), (10, USUAL)):
        with soft_limit(USUAL), Proxy(server, folder, proxy={"max_client_connections": clients}) as proxy:
            assert allowed(proxy) == files


def test_a_hard_limit_that_is_too_low_is_told(server: DatabaseServer, folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("there is no hard limit here")
    with soft_limit(USUAL), Proxy(server, folder, proxy={"max_client_connections": hard}) as proxy:
        assert allowed(proxy) == hard
        line = proxy.wait_for_log(lambda line: line["event"].startswith("open files may run out"))
        assert (line["limit"], line["wanted"]) == (hard, hard + 1000)
