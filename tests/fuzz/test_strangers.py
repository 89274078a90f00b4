"""Whatever those send who do not know a password, none is let in. `make soak` has a million of them."""

from __future__ import annotations

import random

import pytest

from rdsproxy.protocol.authentication.plugins import NATIVE
from rdsproxy.protocol.authentication.scrambles import caching_sha2_scramble, native_scramble
from tests.fuzz.strangers import PASSWORD, Street, visits

VISITS = 5_000


def test_nobody_is_let_in() -> None:
    """Nothing is logged as an error, nothing is left, and some come as far as one can without a password."""
    assert visits(0, VISITS) >= 5


class Friends(Street):
    """They do know it."""

    def proof(self, chance: random.Random, plugin: str, nonce: bytes) -> bytes:
        scramble = native_scramble if plugin == NATIVE else caching_sha2_scramble
        return scramble(PASSWORD.encode(), nonce)


def test_somebody_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="has been let in"):
        visits(0, 100, Friends)
