"""The command line."""

from pathlib import Path

import pytest

from tests.bench.failover.events import EVENTS
from tests.bench.failover.options import PICTURE, parse_arguments


def test_by_default_everything_is_measured_and_no_picture_drawn() -> None:
    options = parse_arguments([])
    assert (options.database, options.rounds, options.clients) == ("mariadb", 3, 16)
    assert options.events == EVENTS
    assert options.contestants == ("direct", "haproxy", "rdsproxy")
    assert options.limit < 600
    assert options.picture is None


def test_a_picture_has_a_place_of_its_own_and_may_have_another() -> None:
    assert parse_arguments(["--picture"]).picture == PICTURE
    assert parse_arguments(["--picture", "a.svg"]).picture == Path("a.svg")


def test_some_events_are_chosen_and_keep_their_order() -> None:
    options = parse_arguments(["--events", "dns,kill", "--contestants", "rdsproxy"])
    assert [event.name for event in options.events] == ["kill", "dns"]
    assert options.contestants == ("rdsproxy",)


@pytest.mark.parametrize("arguments", [["--events", "flood"], ["--delay", "0"], ["--timeout", "no"]])
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
