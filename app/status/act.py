"""One request to act on a referral or on one of its dispatches: by the API or by a page's form, the same way."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import func, select

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal
from app.db import Connection
from app.errors import NOT_FOUND, STATE_CONFLICT, Problem
from app.parties.codes import Priority
from app.referrals import consents, noted, queries, rounds
from app.referrals.idempotency import Asked, first_time
from app.referrals.lifecycle import Restart
from app.referrals.models import Dispatch
from app.referrals.rounds import Reference
from app.web.database import Transaction
from app.web.idempotency import IdempotencyKey

Referral = dict[str, Any]
Deed = Callable[[Referral], Awaitable[bool]]
"""What is done to a referral; False where its state does not allow it."""


class Act:
    """Who acts, under which key, in which transaction."""

    def __init__(
        self,
        request: Request,
        principal: CurrentPrincipal,
        connection: Transaction,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        self.principal: Principal = principal
        self.connection: Connection = connection
        self._request = request
        self._key = idempotency_key

    async def referral(self, referral_id: UUID) -> Referral:
        """The referral to act on, its dispatches with the `alerts` that stand.

        Raises `Problem`: 404 where the caller does not oversee it, 410 once disposed of.
        """
        seen = queries.visible(self.principal, Action.COORDINATE)
        found = await queries.whole(self.connection, seen, referral_id)
        if found is None:
            raise Problem(NOT_FOUND)
        standing = await noted.standing(self.connection, referral_id)
        dispatches = [{**one, "alerts": standing.get(one["id"], [])} for one in found["dispatches"]]
        return {**found, "dispatches": dispatches}

    async def of_dispatch(self, dispatch_id: UUID) -> UUID:
        """The referral of a dispatch. Raises `Problem` (404)."""
        query = select(Dispatch.referral_id).where(Dispatch.id == dispatch_id)
        found: UUID | None = await self.connection.scalar(query)
        if found is None:
            raise Problem(NOT_FOUND)
        return found

    async def consent(self, consent_id: UUID) -> dict[str, Any]:
        """A consent asked for about a referral that the caller oversees. Raises `Problem` (404)."""
        seen = queries.visible(self.principal, Action.COORDINATE)
        found = await consents.find(self.connection, seen, consent_id)
        if found is None:
            raise Problem(NOT_FOUND)
        return found

    async def do(self, referral_id: UUID, action: str, document: Mapping[str, Any], deed: Deed) -> bool:
        """Do it once; False where this key has done it before. Raises `Problem` as `referral` does, or 409."""
        referral = await self.referral(referral_id)
        asked = Asked(self.principal.party, referral_id, action, dict(document))
        first = await first_time(self.connection, self._request.app.state.keys, self._key, asked)
        if first and not await deed(referral):
            raise Problem(STATE_CONFLICT)
        self._request.app.state.wake.work()
        return first

    async def reference(self) -> Reference:
        """The parties and the routing matrix as they are now."""
        state = self._request.app.state
        return Reference(
            await state.directory.get(self.connection),
            await state.matrix.get(self.connection),
            state.settings.simulate,
        )

    async def restarting(self, referral: Referral) -> Callable[[str], Restart]:
        """What tells the time an agency gets for a dispatch of this referral that enters its inbox now."""
        reference, now = await self.reference(), await self.connection.scalar(func.now())
        priority = Priority(referral["priority"])

        def of(agency: str) -> Restart:
            return rounds.restart(now, priority, reference.directory[agency], simulated=reference.simulated)

        return of


Acting = Annotated[Act, Depends()]
