"""What the tests of failovers share: the kind of server that they are run on, and a namespace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.failover.namespace import Namespace, NamespaceError
from tests.servers import DatabaseServer


@pytest.fixture(scope="session")
def kind(database: DatabaseServer) -> type[DatabaseServer]:
    """MariaDB, then MySQL, where they can be had."""
    return type(database)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network of its own."""
    with ExitStack() as stack:
        try:
            there = stack.enter_context(Namespace())
        except NamespaceError as error:
            pytest.skip(f"no namespace can be made: {error}")
        yield there
