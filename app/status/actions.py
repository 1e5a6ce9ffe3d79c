"""What a co-ordinator does to a referral or to one dispatch. Each answers with the referral as it is then."""

from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from app.access.policy import Action
from app.access.routes import AccessRoute, permit
from app.audit.record import record
from app.errors import DISPOSED, INVALID_BODY, NOT_FOUND, STATE_CONFLICT, UNKNOWN_ADDRESSEE
from app.referrals import queries
from app.referrals.consent_documents import ConsentView
from app.referrals.consents import looked
from app.referrals.documents import Document, Moment, Paragraph, PartyCodes
from app.referrals.shown import ReferralView
from app.status import deeds
from app.status.act import Act, Acting, Deed, Referral
from app.web.docs import refusals
from app.web.idempotency import REPLAYED
from app.web.json import json_response

router = APIRouter(
    route_class=AccessRoute,
    prefix="/v1",
    tags=["co-ordinators"],
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED),
)


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

    due_at: Moment = Field(description="When the answer is due then: later than now, at most a hundred years ahead.")


async def answered(act: Act, referral_id: UUID, action: str, body: Document | None, deed: Deed) -> Response:
    """Do it once, and answer with the referral as it is then. Raises `Problem` as `Act.do`."""
    document = body.model_dump(mode="json") if body else {}
    first = await act.do(referral_id, action, document, deed)
    now = await queries.get(act.connection, queries.visible(act.principal, Action.COORDINATE), referral_id)
    await queries.shown(act.connection, act.principal, referral_id)
    return json_response(now, headers={} if first else REPLAYED)


async def _on_dispatch(act: Act, dispatch_id: UUID, action: str, body: Document | None, deed: Deed) -> Response:
    """The same for a dispatch of a referral that the caller oversees."""
    return await answered(act, await act.of_dispatch(dispatch_id), f"{action} {dispatch_id}", body, deed)


@router.post("/referrals/{id}/hold", response_model=ReferralView, summary="Hold a referral")
@permit(Action.COORDINATE)
async def hold(id: UUID, body: Reason, act: Acting) -> Response:
    """Keep what no agency has seen yet out of the inboxes, until it is released."""
    return await answered(act, id, "hold", body, lambda referral: deeds.hold(act, referral, body.reason))


@router.post("/referrals/{id}/release", response_model=ReferralView, summary="Release a held referral")
@permit(Action.COORDINATE)
async def release(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """Let it go on; each agency gets its full time from now. A body that needs a release of its own stays held."""
    return await answered(act, id, "release", body, lambda referral: deeds.release(act, referral))


@router.post("/referrals/{id}/reject", response_model=ReferralView, summary="Reject a referral")
@permit(Action.COORDINATE)
async def reject(id: UUID, body: Reason, act: Acting) -> Response:
    """End it before it is completed; every open dispatch is cancelled."""
    return await answered(act, id, "reject", body, lambda referral: deeds.reject(act, referral, body.reason))


@router.post(
    "/referrals/{id}/addressees",
    response_model=ReferralView,
    summary="Ask further bodies",
    responses=refusals(UNKNOWN_ADDRESSEE),
)
@permit(Action.COORDINATE)
async def add_addressees(id: UUID, body: Addressees, act: Acting) -> Response:
    """A new dispatch for each body; one that ended before is asked again in its next round."""
    return await answered(act, id, "addressees", body, lambda referral: deeds.add(act, referral, body.addressees))


@router.post("/dispatches/{id}/chase", response_model=ReferralView, summary="Chase an agency")
@permit(Action.COORDINATE)
async def chase(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """Remind it, by its channel and in the timeline."""
    return await _on_dispatch(act, id, "chase", body, lambda _: deeds.chase(act, id))


@router.post(
    "/dispatches/{id}/extend",
    response_model=ReferralView,
    summary="Give an agency more time",
    responses=refusals(INVALID_BODY),
)
@permit(Action.COORDINATE)
async def extend(id: UUID, body: Extension, act: Acting) -> Response:
    """Move the due time, and with it the expiry and the chases still to come."""
    return await _on_dispatch(act, id, "extend", body, lambda referral: deeds.extend(act, referral, id, body.due_at))


@router.post("/dispatches/{id}/redeliver", response_model=ReferralView, summary="Have an ended dispatch go out again")
@permit(Action.COORDINATE)
async def redeliver(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """A new dispatch of the next round: after an expiry, a late or a conflicting answer, or a failed delivery."""
    return await _on_dispatch(act, id, "redeliver", body, lambda referral: deeds.redeliver(act, referral, id))


@router.post("/dispatches/{id}/cancel", response_model=ReferralView, summary="Take one dispatch back")
@permit(Action.COORDINATE)
async def cancel(id: UUID, body: Reason, act: Acting) -> Response:
    """The agency need not answer any more; its item shows as cancelled until it has seen that."""
    return await _on_dispatch(act, id, "cancel", body, lambda _: deeds.cancel(act, id, body.reason))


@router.post("/dispatches/{id}/noted", response_model=ReferralView, summary="Say that nothing needs doing")
@permit(Action.COORDINATE)
async def note(id: UUID, body: Reason, act: Acting) -> Response:
    """Settle the alerts that stand: a late or conflicting answer, an expiry, a failed delivery was read."""
    return await _on_dispatch(act, id, "noted", body, lambda referral: deeds.note(act, referral, id, body.reason))


@router.post("/dispatches/{id}/release", response_model=ReferralView, summary="Release one held dispatch")
@permit(Action.COORDINATE)
async def release_dispatch(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """Let it into its agency's inbox, with the full time from now."""
    return await _on_dispatch(act, id, "release", body, lambda referral: deeds.release_dispatch(act, referral, id))


@router.post("/consents/{id}/chase", response_model=ConsentView, summary="Chase a body for its consent")
@permit(Action.COORDINATE)
async def chase_consent(id: UUID, act: Acting, body: Nothing | None = None) -> Response:
    """Remind it: in the list that it reads, and in the timeline."""
    found = await act.consent(id)

    async def done(_: Referral) -> bool:
        return await deeds.chase_consent(act, id)

    first = await act.do(found["referral_id"], f"chase consent {id}", {}, done)
    await record(act.connection, act.principal.actor, [looked(found["referral_id"], [found])])
    return json_response(await act.consent(id), headers={} if first else REPLAYED)
