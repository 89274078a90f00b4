"""Users as the door sees them, while their passwords change."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from rdsproxy.frontend.accounts import Accounts
from rdsproxy.interfaces import ClientPlugin, Credential, ICredentialProvider

OLD, NEW = Credential("app", "old"), Credential("app", "new")


@implementer(ICredentialProvider)
class Users:
    """What the test says."""

    complete = True
    default_plugin: ClientPlugin = "caching_sha2_password"

    def __init__(self) -> None:
        self.known: tuple[Credential, ...] = ()

    def usernames(self) -> list[str]:
        return ["app"]

    def accepted(self, username: str) -> tuple[Credential, ...]:
        return self.known

    def look_again(self) -> Deferred[None]:
        return succeed(None)

    def for_database(
        self, username: str, *, refused: Sequence[Credential] = ()
    ) -> Deferred[Sequence[Credential]]:
        return succeed(self.known)


def test_a_user_is_verified_by_what_is_accepted_now() -> None:
    users = Users()
    accounts = Accounts(users)
    assert accounts.find(b"app") is None
    for known, right in [
        ((OLD,), ["old"]),
        ((NEW, OLD), ["new", "old"]),
        ((NEW,), ["new"]),
        ((OLD,), ["old"]),
    ]:
        users.known = known
        verifier = accounts.find(b"app")
        assert verifier is not None
        assert [word for word in ("new", "old", "") if verifier.accepts_password(word.encode())] == right
    users.known = ()
    assert accounts.find(b"app") is None


def test_hashes_are_kept_as_long_as_nothing_changes() -> None:
    users = Users()
    accounts = Accounts(users)
    users.known = (NEW, OLD)
    first = accounts.find(b"app")
    users.known = (Credential("app", "new"), Credential("app", "old"))
    assert accounts.find(b"app") is first


def test_unknown_users_are_looked_up_as_often_as_known_ones() -> None:
    """With the same result in the same time: `make timing` measures it."""
    looked_up: list[bool] = []

    class Counting(Users):
        def accepted(self, username: str) -> tuple[Credential, ...]:
            found = self.known if username == "app" else ()
            looked_up.append(bool(found))
            return found

    users = Counting()
    users.known = (NEW, OLD)
    accounts = Accounts(users)
    accounts.find(b"app")

    def found(user: bytes) -> int:
        looked_up.clear()
        accounts.takes_token(user)
        accounts.find(user)
        accounts.certificate_problem(user, None)
        return sum(looked_up)

    assert found(b"app") == found(b"nobody") == 3


def test_a_name_that_is_no_text_is_nobodys() -> None:
    users = Users()
    users.known = (OLD,)
    assert Accounts(users).find(b"app\xff") is None
