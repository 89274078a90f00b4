"""What is counted for an address is forgotten after a minute, and kept in bounded memory."""

from __future__ import annotations

from twisted.internet.task import Clock

from rdsproxy.frontend.rates import MAX_KEPT, WINDOW, Rate


def test_a_window() -> None:
    clock = Clock()
    rate = Rate(2, clock.seconds)
    rate.add(("a", b"u"))
    assert not rate.is_reached(("a", b"u"))
    clock.advance(WINDOW - 1)
    rate.add(("a", b"u"))
    assert rate.is_reached(("a", b"u"))
    assert not rate.is_reached(("b", b"u"))
    assert not rate.is_reached(("a", b"v"))
    clock.advance(1)
    assert not rate.is_reached(("a", b"u"))
    rate.add(("a", b"u"))
    assert not rate.is_reached(("a", b"u"))


def test_made_up_names_are_forgotten() -> None:
    rate = Rate(1, Clock().seconds)
    rate.add(("a", b"first"))
    for number in range(MAX_KEPT):
        rate.add(("a", str(number).encode()))
    assert not rate.is_reached(("a", b"first"))
    assert rate.is_reached(("a", b"0"))


def test_what_is_over_is_not_kept() -> None:
    """A flood leaves nothing: each that is counted takes one away that is over."""
    clock = Clock()
    rate = Rate(1, clock.seconds)
    for number in range(100):
        rate.add(number)
    clock.advance(WINDOW)
    for _ in range(100):
        rate.add("a")
    assert len(rate) == 1
