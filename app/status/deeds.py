"""What a co-ordinator does, each on a referral that is there to act on: what the API and the pages share.

Each returns False where the state does not allow it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select

from app.access.policy import Action
from app.errors import INVALID_BODY, STATE_CONFLICT, UNKNOWN_ADDRESSEE, Problem
from app.parties.directory import Directory
from app.referrals import consents, lifecycle, noted, queries, rounds
from app.referrals.states import ReferralState
from app.status.act import Act, Referral

MOST_AHEAD = timedelta(days=36_525)
"""How much time a dispatch may be given: a hundred years. How long an agency needs, a co-ordinator decides; what is
later is a slip of the keyboard, and soon no day of the calendar."""


async def hold(act: Act, referral: Referral, reason: str) -> bool:
    """Keep what no agency has seen yet out of the inboxes."""
    return await lifecycle.hold(act.connection, act.principal.actor, referral["id"], reason)


async def release(act: Act, referral: Referral) -> bool:
    """Let a held referral go on, with each agency's full time from now."""
    restart_of = await act.restarting(referral)
    return await lifecycle.release(act.connection, act.principal.actor, referral["id"], restart_of)


async def reject(act: Act, referral: Referral, reason: str) -> bool:
    """End it before it is completed."""
    return await lifecycle.reject(act.connection, act.principal.actor, referral["id"], reason)


async def add(act: Act, referral: Referral, agencies: Sequence[str]) -> bool:
    """Ask further bodies, or ended ones again. Raises `Problem` (422) for one that cannot be asked."""
    reference = await act.reference()
    _check_addressees(agencies, referral["originator"], reference.directory)
    await rounds.add_addressees(act.connection, act.principal.actor, referral["id"], agencies, reference)
    return True


async def chase(act: Act, dispatch_id: UUID) -> bool:
    """Remind an agency."""
    return bool(await lifecycle.chase(act.connection, act.principal.actor, [dispatch_id]))


async def extend(act: Act, referral: Referral, dispatch_id: UUID, due_at: datetime) -> bool:
    """Move a due time, and with it the expiry. Raises `Problem` (422) for a time that has passed, or is too far off."""
    now: datetime = (await act.connection.execute(select(func.now()))).scalar_one()
    if not now < due_at <= now + MOST_AHEAD:
        wrong = "Give a time in the future, at most a hundred years ahead."
        raise Problem(INVALID_BODY, errors=[{"pointer": "/due_at", "detail": wrong}])
    policy = (await act.reference()).directory[agency_of(referral, dispatch_id)].policy
    return await lifecycle.extend(act.connection, act.principal.actor, dispatch_id, due_at, policy)


async def redeliver(act: Act, referral: Referral, dispatch_id: UUID) -> bool:
    """Have an ended dispatch go out again, in the next round."""
    reference = await act.reference()
    await rounds.redeliver(act.connection, act.principal.actor, referral["id"], dispatch_id, reference)
    return True


async def cancel(act: Act, dispatch_id: UUID, reason: str) -> bool:
    """Take one dispatch back."""
    return await lifecycle.cancel_dispatch(act.connection, act.principal.actor, dispatch_id, reason)


async def note(act: Act, referral: Referral, dispatch_id: UUID, reason: str) -> bool:
    """Settle what a dispatch's alerts say: it was read, and nothing needs doing."""
    return await noted.note(act.connection, act.principal.actor, referral["id"], dispatch_id, reason)


async def release_dispatch(act: Act, referral: Referral, dispatch_id: UUID) -> bool:
    """Let one held dispatch into its agency's inbox. Raises `Problem` (409) while the whole referral is held."""
    if referral["state"] == ReferralState.HELD:
        raise Problem(STATE_CONFLICT, "The whole referral is held; release that.")
    restart = (await act.restarting(referral))(agency_of(referral, dispatch_id))
    return await lifecycle.release_dispatch(act.connection, act.principal.actor, referral["id"], dispatch_id, restart)


async def chase_consent(act: Act, consent_id: UUID) -> bool:
    """Remind an agency of a consent that is asked of it. Raises `Problem` (409) where it is settled."""
    seen = queries.visible(act.principal, Action.COORDINATE)
    await consents.chase(act.connection, act.principal.actor, seen, consent_id)
    return True


async def withdraw_consent(act: Act, consent_id: UUID) -> bool:
    """Ask for it no longer. Raises `Problem` (409) where it is decided."""
    seen = queries.visible(act.principal, Action.COORDINATE)
    await consents.withdraw(act.connection, act.principal.actor, seen, consent_id, oversees=True)
    return True


def agency_of(referral: Referral, dispatch_id: UUID) -> str:
    """Whom a dispatch of this referral went to."""
    agency: str = next(one["agency"] for one in referral["dispatches"] if one["id"] == dispatch_id)
    return agency


def _check_addressees(agencies: Sequence[str], originator: str, directory: Directory) -> None:
    errors = [
        {"pointer": f"/addressees/{index}", "detail": "Name another body that receives referrals."}
        for index, code in enumerate(agencies)
        if code == originator or (party := directory.get(code)) is None or not party.receives
    ]
    if errors:
        raise Problem(UNKNOWN_ADDRESSEE, errors=errors)
