"""The store with a clock, and secrets that are read when and as the test says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from rdsproxy.credentials import CredentialStore, SecretError, SecretPolicy, SecretUnavailableError
from rdsproxy.credentials.backoff import FIRST_PAUSE, PATIENCE
from rdsproxy.credentials.cached import LAST_RETRY
from rdsproxy.interfaces import ClientPlugin, Credential, ICredentialProvider, ISecretSource, SecretVersions

INTERVAL = 60.0
POLICY = SecretPolicy(max_age=3600.0, previous_grace=600.0)
OLD, NEW, NEXT = (Credential("app", f"hunter{number}") for number in (1, 2, 3))
CLONE = Credential("app_clone", "hunter4")


def text(credential: Credential) -> str:
    return json.dumps({"username": credential.username, "password": credential.password})


def versions(
    current: Credential, previous: Credential | None = None, pending: Credential | None = None, age: float = 0.0
) -> SecretVersions:
    before, to_come = (text(other) if other is not None else None for other in (previous, pending))
    return SecretVersions(text(current), before, to_come, age)


@implementer(ISecretSource)
class Source:
    """A secret whose reads the test answers."""

    interval = INTERVAL

    def __init__(self, name: str = "app.json") -> None:
        self.name = name
        self.reads: list[Deferred[SecretVersions]] = []
        self.refused: list[bool] = []

    def read(self, refused: bool) -> Deferred[SecretVersions]:
        assert not self.reads or self.reads[-1].called, "one at a time"
        self.reads.append(Deferred())
        self.refused.append(refused)
        return self.reads[-1]

    def give(self, found: SecretVersions | Exception) -> None:
        """Answer the read that is under way."""
        if isinstance(found, Exception):
            self.reads[-1].errback(found)
        else:
            self.reads[-1].callback(found)


def down(name: str = "app.json") -> SecretUnavailableError:
    return SecretUnavailableError(name, "no answer")


class Bench:
    """A store of secrets, a clock, and the log."""

    def __init__(self, *names: str, plugins: Sequence[ClientPlugin] = (), policy: SecretPolicy = POLICY) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.sources = [Source(name) for name in names or ["app.json"]]
        given = plugins or ["caching_sha2_password"] * len(self.sources)
        self.store = CredentialStore(zip(self.sources, given, strict=True), policy, self.clock)
        self.store.start()

    @property
    def source(self) -> Source:
        return self.sources[0]

    def give(self, found: SecretVersions | Exception) -> None:
        self.source.give(found)

    def wait(self) -> float:
        """Go on to the next read; give the seconds until then."""
        (call,) = self.clock.getDelayedCalls()
        seconds = call.getTime() - self.clock.seconds()
        self.clock.advance(seconds)
        return seconds

    def candidates(self, username: str, refused: Sequence[Credential] = ()) -> list[Any]:
        """Ask what the database may have; the answer is put into the list when it comes."""
        answers: list[Any] = []
        self.store.for_database(username, refused=refused).addCallback(answers.append)
        return answers


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_secret_is_read_at_the_start_and_then_in_time() -> None:
    bench = Bench()
    verifyObject(ICredentialProvider, bench.store)
    assert bench.store.usernames() == []
    bench.give(versions(OLD))
    assert bench.store.usernames() == ["app"]
    assert bench.store.accepted("app") == (OLD,)
    pauses = set()
    for _ in range(5):
        pauses.add(bench.wait())
        bench.give(versions(OLD))
    assert all(INTERVAL * 0.75 <= pause <= INTERVAL for pause in pauses)
    assert len(pauses) > 1, "those of many proxies do not stay together"


def test_a_secret_is_read_again_before_it_is_too_old() -> None:
    bench = Bench(policy=SecretPolicy(max_age=30.0, previous_grace=0.0))
    for _ in range(5):
        bench.give(versions(OLD))
        assert bench.wait() <= 15
        bench.give(down())
        bench.wait()
        assert bench.store.accepted("app") == (OLD,)


def test_who_logs_in_does_not_wait_for_a_read() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    bench.wait()
    assert bench.store.accepted("app") == (OLD,)
    assert bench.candidates("app") == [(OLD,)]


def test_what_fails_is_read_again_ever_later() -> None:
    bench = Bench()
    pauses = []
    for _ in range(8):
        bench.give(down())
        pauses.append(bench.wait())
    for pause, expected in zip(pauses, [1, 2, 4, 8, 16, LAST_RETRY, LAST_RETRY, LAST_RETRY], strict=True):
        assert expected * 0.75 <= pause <= expected * 1.25
    bench.give(versions(OLD))
    assert bench.store.accepted("app") == (OLD,)
    assert bench.wait() > LAST_RETRY * 1.25
    bench.give(down())
    assert bench.wait() <= 1.25, "the next failure is a first one"


def test_what_was_read_is_kept_while_the_store_is_away_but_not_for_ever() -> None:
    bench = Bench()
    with capture_logs() as log:
        bench.give(versions(OLD))
        began = bench.clock.seconds()
        bench.wait()
        while bench.clock.seconds() <= began + POLICY.max_age:
            assert bench.store.accepted("app") == (OLD,)
            bench.give(down())
            bench.wait()
        bench.give(down())
        assert bench.store.accepted("app") == ()
        assert bench.candidates("app") == [()]
        assert not bench.store.complete, "its user may be told to come again"
        bench.wait()
        bench.give(versions(OLD))
        assert bench.store.accepted("app") == (OLD,)
        assert bench.store.complete
    assert [entry["event"] for entry in log] == [
        "secret cannot be read; what was read before is kept",
        "secret is too old to be used",
        "secret can be used again",
    ]


def test_nothing_goes_on_after_the_end() -> None:
    bench = Bench("a", "b")
    bench.give(versions(OLD))
    bench.store.stop()
    bench.sources[1].give(versions(CLONE))
    assert not bench.clock.getDelayedCalls()


# -- broken secrets ----------------------------------------------------------------------------------------------------


def test_a_broken_secret_is_its_own_users_trouble() -> None:
    bench = Bench("good", "broken", "away")
    good, broken, away = bench.sources
    with capture_logs() as log:
        good.give(versions(OLD))
        broken.give(SecretVersions('{"username": "other", "passwort": "hunter9"}'))
        away.give(down("away"))
    assert bench.store.usernames() == ["app"]
    assert [(entry["event"], entry["secret"], entry["reason"]) for entry in log] == [
        ("secret cannot be used", "broken", 'has no "password"'),
        ("secret cannot be used", "away", "no answer"),
    ]
    assert "hunter" not in str(log)


def test_all_is_known_once_each_secret_is_known_or_known_to_be_broken() -> None:
    bench = Bench("a", "b")
    a, b = bench.sources
    assert not bench.store.complete
    a.give(versions(OLD))
    assert not bench.store.complete
    b.give(SecretError("b", "not JSON"))
    assert bench.store.complete


def test_a_secret_that_is_broken_by_a_change_is_kept_as_it_was() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    bench.wait()
    bench.give(SecretVersions("hunter2"))
    assert bench.store.accepted("app") == (OLD,)


def test_the_same_trouble_is_logged_once() -> None:
    bench = Bench()
    with capture_logs() as log:
        for reason in ("no answer", "no answer", "no permission"):
            bench.give(SecretUnavailableError("app.json", reason))
            bench.wait()
        bench.give(versions(OLD))
    assert [entry.get("reason") for entry in log] == ["no answer", "no permission", None]


def test_a_source_that_fails_in_its_own_way_shows_nothing() -> None:
    bench = Bench()
    with capture_logs() as log:
        bench.give(ValueError("hunter2"))
    assert log[0]["reason"] == "unexpected ValueError while it was read"
    assert not bench.store.complete


def test_of_two_secrets_of_one_user_the_first_counts() -> None:
    bench = Bench("a", "b")
    a, b = bench.sources
    b.give(versions(NEW))
    with capture_logs() as log:
        a.give(versions(OLD))
    assert bench.store.accepted("app") == (OLD,)
    assert [(entry["secret"], entry["reason"]) for entry in log] == [("b", "it has the same username as a")]


# -- rotation ----------------------------------------------------------------------------------------------------------


def test_a_change_is_noticed_in_time_and_the_password_before_is_good_for_a_while() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    bench.wait()
    with capture_logs() as log:
        bench.give(versions(NEW, previous=OLD))
    assert [entry["event"] for entry in log] == ["secret changed"]
    assert "hunter" not in str(log)
    assert bench.store.accepted("app") == (NEW, OLD)
    until = bench.clock.seconds() + POLICY.previous_grace
    while bench.clock.seconds() < until - INTERVAL:
        bench.wait()
        bench.give(versions(NEW, previous=OLD))
        assert bench.store.accepted("app") == (NEW, OLD)
    bench.clock.advance(until - bench.clock.seconds())
    assert bench.store.accepted("app") == (NEW,)
    assert bench.candidates("app") == [(NEW, OLD)], "the database may have it still"


def test_where_no_previous_version_is_kept_the_proxy_remembers_it() -> None:
    """Half a file that was read in between is forgotten."""
    bench = Bench()
    bench.give(versions(OLD))
    bench.wait()
    bench.give(SecretVersions(text(NEW)[:-3]))
    bench.wait()
    for _ in range(2):
        bench.give(SecretVersions(text(NEW), previous=text(NEW)[:-3]))
        assert bench.store.accepted("app") == (NEW, OLD)
        bench.wait()
    bench.give(versions(NEXT))
    assert bench.store.accepted("app") == (NEXT, NEW)


@pytest.mark.parametrize(("age", "accepted"), [(0.0, (NEW, OLD)), (500.0, (NEW, OLD)), (601.0, (NEW,))])
def test_the_grace_time_does_not_begin_again_with_the_proxy(age: float, accepted: tuple[Credential, ...]) -> None:
    bench = Bench()
    bench.give(versions(NEW, previous=OLD, age=age))
    assert bench.store.accepted("app") == accepted


def test_without_grace_the_password_before_is_refused_at_once() -> None:
    bench = Bench(policy=SecretPolicy(3600.0, 0.0))
    bench.give(versions(OLD))
    bench.wait()
    bench.give(versions(NEW, previous=OLD))
    assert bench.store.accepted("app") == (NEW,)


def test_users_who_alternate_are_both_known() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    bench.wait()
    bench.give(versions(CLONE, previous=OLD))
    assert bench.store.usernames() == ["app_clone", "app"]
    assert bench.store.accepted("app_clone") == (CLONE,)
    assert bench.store.accepted("app") == (OLD,)
    bench.clock.advance(POLICY.previous_grace)
    assert bench.store.accepted("app") == ()
    assert bench.candidates("app") == [(OLD,)], "sessions that are there go on"


def test_a_current_user_of_one_secret_is_not_the_previous_one_of_another() -> None:
    bench = Bench("a", "b")
    a, b = bench.sources
    a.give(versions(CLONE, previous=OLD))
    b.give(versions(NEXT))
    assert bench.store.accepted("app") == (NEXT,)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_when_the_database_refuses_the_secret_is_read_at_once() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    answers = bench.candidates("app", refused=(OLD,))
    assert bench.source.refused == [False, True]
    assert answers == []
    bench.give(versions(NEW, previous=OLD))
    assert answers == [(NEW, OLD)]


def test_a_rotation_that_has_reached_the_database_alone_is_followed() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    answers = bench.candidates("app", refused=(OLD,))
    bench.give(versions(OLD, pending=NEW))
    assert answers == [(OLD, NEW)]
    assert bench.store.accepted("app") == (OLD,), "no client may log in by what is pending"
    bench.wait()
    bench.give(versions(OLD))
    assert bench.candidates("app") == [(OLD, NEW)], "a read in between does not ask for it"
    bench.wait()
    bench.give(versions(NEW, previous=OLD))
    assert bench.candidates("app") == [(NEW, OLD)]


def test_of_users_who_alternate_the_one_whose_turn_is_next_is_followed() -> None:
    bench = Bench()
    bench.give(versions(CLONE, previous=OLD))
    answers = bench.candidates("app", refused=(OLD,))
    bench.give(versions(CLONE, previous=OLD, pending=NEW))
    assert answers == [(OLD, NEW)]


def test_one_that_was_refused_and_is_not_known_any_more_is_not_asked_for() -> None:
    bench = Bench()
    bench.give(versions(NEW, previous=OLD))
    assert bench.candidates("app", refused=(OLD,)) == [(NEW, OLD)]
    assert len(bench.source.reads) == 1


def test_many_refusals_share_a_read() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    answers = [bench.candidates("app", refused=(OLD,)) for _ in range(50)]
    assert len(bench.source.reads) == 2
    bench.give(versions(OLD, pending=NEW))
    bench.give(versions(OLD, pending=NEW))
    assert answers == [[(OLD, NEW)]] * 50
    assert len(bench.source.reads) == 3


def test_a_read_that_began_before_the_refusal_is_not_its_answer() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    bench.wait()
    answers = bench.candidates("app", refused=(OLD,))
    bench.give(versions(OLD))
    assert answers == []
    bench.give(versions(OLD, pending=NEW))
    assert answers == [(OLD, NEW)]


def test_a_store_that_does_not_answer_holds_nobody_up() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    answers = bench.candidates("app", refused=(OLD,))
    bench.clock.advance(PATIENCE)
    assert answers == [(OLD,)]


def test_a_client_with_a_newer_password_has_all_secrets_read() -> None:
    """Not the one of its user alone, which would tell by the time whether there is such a user."""
    bench = Bench("a", "b")
    a, b = bench.sources
    a.give(versions(OLD))
    b.give(versions(CLONE))
    looked: list[None] = []
    bench.store.look_again().addCallback(looked.append)
    assert (len(a.reads), len(b.reads)) == (2, 2)
    a.give(versions(NEW, previous=OLD))
    assert not looked
    b.give(versions(CLONE))
    assert looked
    assert bench.store.accepted("app") == (NEW, OLD)


def test_wrong_passwords_of_clients_do_not_keep_the_database_from_being_believed() -> None:
    bench = Bench()
    bench.give(versions(OLD))
    for _ in range(100):
        bench.store.look_again()
        if not bench.source.reads[-1].called:
            bench.give(versions(OLD))
        bench.clock.advance(FIRST_PAUSE)
        if not bench.source.reads[-1].called:
            bench.give(versions(OLD))
    reads = len(bench.source.reads)
    assert reads < 15
    bench.candidates("app", refused=(OLD,))
    assert len(bench.source.reads) == reads + 1


# -- greeting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plugins", "default"),
    [
        (("mysql_native_password", "mysql_native_password"), "mysql_native_password"),
        (("mysql_native_password", "caching_sha2_password"), "caching_sha2_password"),
    ],
)
def test_the_greetings_plugin_is_known_before_any_secret_is(plugins: Sequence[ClientPlugin], default: str) -> None:
    bench = Bench("a", "b", plugins=plugins)
    assert bench.store.default_plugin == default
    bench.give(versions(OLD))
    (credential,) = bench.store.accepted("app")
    assert credential.client_plugin == "mysql_native_password"
