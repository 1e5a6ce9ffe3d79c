"""The principal: who a request comes from, once its credential is accepted."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.access.policy import Action, Relation, Role, relation
from app.access.purposes import StatedPurpose
from app.audit.record import Actor
from app.db import ACTING, Behalf
from app.errors import ROLE_NOT_ALLOWED, Problem


@dataclass(frozen=True, slots=True)
class Principal:
    """A party acting in a role. `credential` is its key's or account's id, which the log names; `token` its token's.

    `purpose` is why it reads, where the request states it. `person` is the name of whoever is signed in with an
    account: for pages, never for the log. `covers` are the regions that a co-ordinator stands in for now, beside its
    own (app/access/covers.py).
    """

    party: str
    role: Role
    credential: str
    request_id: str | None = None
    token: str | None = None
    purpose: StatedPurpose | None = None
    person: str | None = None
    covers: tuple[str, ...] = ()

    @property
    def parties(self) -> tuple[str, ...]:
        """Its own party, and those it covers."""
        return (self.party, *self.covers)

    @property
    def actor(self) -> Actor:
        """The principal as the log names it."""
        return Actor(self.party, self.credential, self.request_id, self.purpose)

    @property
    def behalf(self) -> Behalf:
        """The principal as the database knows it."""
        return behalf_of(self.role, self.parties)

    def relation(self, action: Action) -> Relation:
        """The relation that `action` demands of a row. Raises `Problem` (403) where the role may not do it."""
        found = relation(self.role, action)
        if found is None:
            raise Problem(ROLE_NOT_ALLOWED)
        return found


def behalf_of(role: Role, parties: Iterable[str]) -> Behalf:
    """On behalf of several parties at once, all in one role: for a transaction that their referrals share."""
    return Behalf(ACTING + role.value, tuple(parties))
