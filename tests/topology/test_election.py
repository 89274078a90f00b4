"""Who is the writer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rdsproxy.topology.election import elect

NAMES = st.sampled_from(["a", "b", "c", "d"])


def test_the_only_claimant_is_the_writer() -> None:
    assert elect(None, ["a"]) == ("a", ())
    assert elect("b", ["a"]) == ("a", ())


def test_nobody_is() -> None:
    assert elect("a", []) == (None, ())


def test_the_writer_stays_while_it_claims() -> None:
    assert elect("a", ["a", "b"]) == ("a", ("b",))
    assert elect("a", ["b", "a"]) == ("a", ("b",))


def test_the_latest_claim_follows() -> None:
    """An old primary that came back writable has claimed for longer than the replica that is promoted now."""
    assert elect("c", ["a", "b"]) == ("b", ("a",))


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=40))
def test_clients_never_go_back_and_forth(events: list[tuple[str, bool]]) -> None:
    """Whatever targets claim: the writer changes only when it does not claim any more."""
    writer: str | None = None
    claimants: list[str] = []
    for name, claims in events:
        if claims and name not in claimants:
            claimants.append(name)
        elif not claims and name in claimants:
            claimants.remove(name)
        chosen, rivals = elect(writer, claimants)
        assert (chosen is None) == (not claimants)
        if writer in claimants:
            assert chosen == writer
        assert sorted([*rivals, *([] if chosen is None else [chosen])]) == sorted(claimants)
        writer = chosen or writer
