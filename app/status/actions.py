"""What a co-ordinator does to a referral or to one dispatch. Each answers with the referral as it is then."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import func, select

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.db import Connection
from app.errors import DISPOSED, INVALID_BODY, NOT_FOUND, STATE_CONFLICT, UNKNOWN_ADDRESSEE, Problem
from app.parties.codes import Priority
from app.parties.directory import Directory
from app.referrals import lifecycle, queries, rounds
from app.referrals.documents import Document, Moment, Paragraph, PartyCodes
from app.referrals.idempotency import Asked, first_time
from app.referrals.lifecycle import Restart
from app.referrals.models import Dispatch
from app.referrals.rounds import Reference
from app.referrals.schedule import expiry
from app.referrals.shown import ReferralView
from app.referrals.states import ReferralState
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.idempotency import REPLAYED, IdempotencyKey
from app.web.json import json_response

router = APIRouter(
    route_class=AccessRoute,
    prefix="/v1",
    tags=["co-ordinators"],
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED),
)

_Referral = dict[str, Any]
_Deed = Callable[[_Referral], Awaitable[bool]]


class Reason(Document):
    """Why it is done."""

    reason: Paragraph


class Nothing(Document):
    """An empty object, or no body at all."""


class Addressees(Document):
    """Whom to ask besides."""

    addressees: PartyCodes


class Extension(Document):
    """Until when an agency gets time."""

    due_at: Moment


class Act:
    """One request to act: who, under which key, in which transaction."""

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

    async def on(self, referral_id: UUID, action: str, body: Document | None, deed: _Deed) -> Response:
        """Do it once, answer with the referral; 404 where the caller does not oversee it, 409 where `deed` is False.

        410 where it was disposed of: nothing is done to what is left.
        """
        seen = queries.visible(self.principal, Action.COORDINATE)
        referral = await queries.whole(self.connection, seen, referral_id)
        if referral is None:
            raise Problem(NOT_FOUND)
        document = body.model_dump(mode="json") if body else {}
        asked = Asked(self.principal.party, referral_id, action, document)
        first = await first_time(self.connection, self._request.app.state.keys, self._key, asked)
        if first and not await deed(referral):
            raise Problem(STATE_CONFLICT)
        self._request.app.state.wake.work()
        now = await queries.get(self.connection, seen, referral_id)
        return json_response(now, headers={} if first else REPLAYED)

    async def on_dispatch(self, dispatch_id: UUID, action: str, body: Document | None, deed: _Deed) -> Response:
        """The same for a dispatch of a referral that the caller oversees."""
        found = await self.connection.scalar(select(Dispatch.referral_id).where(Dispatch.id == dispatch_id))
        if found is None:
            raise Problem(NOT_FOUND)
        return await self.on(found, f"{action} {dispatch_id}", body, deed)

    async def reference(self) -> Reference:
        """The parties and the routing matrix as they are now."""
        state = self._request.app.state
        return Reference(
            await state.directory.get(self.connection),
            await state.matrix.get(self.connection),
            state.settings.simulate,
        )

    async def restart(self, referral: _Referral, agency: str) -> Restart:
        """The time an agency gets for a dispatch that enters its inbox now."""
        reference, now = await self.reference(), await self.connection.scalar(func.now())
        party = reference.directory[agency]
        return rounds.restart(now, Priority(referral["priority"]), party, simulated=reference.simulated)


Acting = Annotated[Act, Depends()]


@router.post("/referrals/{id}/hold", response_model=ReferralView, summary="Hold a referral")
@permit(Action.COORDINATE)
async def hold(id: UUID, body: Reason, act: Acting) -> Response:
    """Keep what no agency has seen yet out of the inboxes, until it is released."""

    async def deed(_: _Referral) -> bool:
        return await lifecycle.hold(act.connection, act.principal.actor, id, body.reason)

    return await act.on(id, "hold", body, deed)


@router.post("/referrals/{id}/release", response_model=ReferralView, summary="Release a held referral")
@permit(Action.COORDINATE)
async def release(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """Let it go on; each agency gets its full time from now. A body that needs a release of its own stays held."""

    async def deed(referral: _Referral) -> bool:
        agencies = {dispatch["agency"] for dispatch in referral["dispatches"]}
        restarts = {agency: await act.restart(referral, agency) for agency in agencies}
        return await lifecycle.release(act.connection, act.principal.actor, id, restarts)

    return await act.on(id, "release", body, deed)


@router.post("/referrals/{id}/reject", response_model=ReferralView, summary="Reject a referral")
@permit(Action.COORDINATE)
async def reject(id: UUID, body: Reason, act: Acting) -> Response:
    """End it before it is completed; every open dispatch is cancelled."""

    async def deed(_: _Referral) -> bool:
        return await lifecycle.reject(act.connection, act.principal.actor, id, body.reason)

    return await act.on(id, "reject", body, deed)


@router.post(
    "/referrals/{id}/addressees",
    response_model=ReferralView,
    summary="Ask further bodies",
    responses=refusals(UNKNOWN_ADDRESSEE),
)
@permit(Action.COORDINATE)
async def add_addressees(id: UUID, body: Addressees, act: Acting) -> Response:
    """A new dispatch for each body; one that ended before is asked again in its next round."""

    async def deed(referral: _Referral) -> bool:
        reference = await act.reference()
        _check_addressees(body, referral["originator"], reference.directory)
        await rounds.add_addressees(act.connection, act.principal.actor, id, body.addressees, reference)
        return True

    return await act.on(id, "addressees", body, deed)


@router.post("/dispatches/{id}/chase", response_model=ReferralView, summary="Chase an agency")
@permit(Action.COORDINATE)
async def chase(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """Remind it, by its channel and in the timeline."""

    async def deed(_: _Referral) -> bool:
        return bool(await lifecycle.chase(act.connection, act.principal.actor, [id]))

    return await act.on_dispatch(id, "chase", body, deed)


@router.post(
    "/dispatches/{id}/extend",
    response_model=ReferralView,
    summary="Give an agency more time",
    responses=refusals(INVALID_BODY),
)
@permit(Action.COORDINATE)
async def extend(id: UUID, body: Extension, act: Acting) -> Response:
    """Move the due time, and with it the expiry."""

    async def deed(referral: _Referral) -> bool:
        if body.due_at <= await act.connection.scalar(func.now()):
            raise Problem(INVALID_BODY, errors=[{"pointer": "/due_at", "detail": "Give a time in the future."}])
        agency = next(one["agency"] for one in referral["dispatches"] if one["id"] == id)
        policy = (await act.reference()).directory[agency].policy
        expires = expiry(body.due_at, Priority(referral["priority"]), policy)
        return await lifecycle.extend(act.connection, act.principal.actor, id, body.due_at, expires)

    return await act.on_dispatch(id, "extend", body, deed)


@router.post("/dispatches/{id}/redeliver", response_model=ReferralView, summary="Have an ended dispatch go out again")
@permit(Action.COORDINATE)
async def redeliver(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """A new dispatch of the next round: after an expiry, a late or a conflicting answer, or a failed delivery."""

    async def deed(referral: _Referral) -> bool:
        reference = await act.reference()
        await rounds.redeliver(act.connection, act.principal.actor, referral["id"], id, reference)
        return True

    return await act.on_dispatch(id, "redeliver", body, deed)


@router.post("/dispatches/{id}/cancel", response_model=ReferralView, summary="Take one dispatch back")
@permit(Action.COORDINATE)
async def cancel(id: UUID, body: Reason, act: Acting) -> Response:
    """The agency need not answer any more; its item shows as cancelled until it has seen that."""

    async def deed(_: _Referral) -> bool:
        return await lifecycle.cancel_dispatch(act.connection, act.principal.actor, id, body.reason)

    return await act.on_dispatch(id, "cancel", body, deed)


@router.post("/dispatches/{id}/release", response_model=ReferralView, summary="Release one held dispatch")
@permit(Action.COORDINATE)
async def release_dispatch(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """Let it into its agency's inbox, with the full time from now."""

    async def deed(referral: _Referral) -> bool:
        if referral["state"] == ReferralState.HELD:
            raise Problem(STATE_CONFLICT, "The whole referral is held; release that.")
        agency = next(one["agency"] for one in referral["dispatches"] if one["id"] == id)
        restart = await act.restart(referral, agency)
        return await lifecycle.release_dispatch(act.connection, act.principal.actor, referral["id"], id, restart)

    return await act.on_dispatch(id, "release", body, deed)


def _check_addressees(body: Addressees, originator: str, directory: Directory) -> None:
    errors = [
        {"pointer": f"/addressees/{index}", "detail": "Name another body that receives referrals."}
        for index, code in enumerate(body.addressees)
        if code == originator or (party := directory.get(code)) is None or not party.receives
    ]
    if errors:
        raise Problem(UNKNOWN_ADDRESSEE, errors=errors)
