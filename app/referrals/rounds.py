"""Further rounds: a co-ordinator adds addressees, or has an ended dispatch go out again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text

from app.audit.record import Actor
from app.db import Connection
from app.errors import DISPOSED, STATE_CONFLICT, Problem
from app.parties.codes import Channel, Priority
from app.parties.directory import Directory, PartyRecord
from app.referrals import lifecycle
from app.referrals.alerts import settle_alerts
from app.referrals.codes import priority_of
from app.referrals.deadlines import london_day
from app.referrals.lifecycle import NewDispatch, Restart, Terms
from app.referrals.schedule import first_check, span, steps
from app.referrals.states import FINAL, OPEN, DispatchState, ReferralState
from app.routing.matrix import Facts, Matrix, decide, noted, propose_gateway

ADDED, REDELIVERED = "added", "redelivered"
"""The rules of dispatches that a co-ordinator made."""

_LOCK = text("""
    SELECT id, originator, state, priority, open_dispatches, now() AS now, crime_types, addressees,
           disposed_at IS NOT NULL AS disposed
      FROM referral
     WHERE id = :id FOR NO KEY UPDATE
""")

_OPEN_AT = text("""
    SELECT agency FROM dispatch
     WHERE referral_id = :id AND agency = ANY(CAST(:agencies AS text[])) AND state = ANY(CAST(:open AS text[]))
""")

_DISPATCH = text("SELECT agency, state FROM dispatch WHERE id = :dispatch_id AND referral_id = :id")

_Locked = Row[tuple[UUID, str, str, int, int, datetime, list[str], list[str] | None, bool]]

_TAKES_MORE = (ReferralState.HELD, ReferralState.IN_PROGRESS, ReferralState.COMPLETED)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a new round is made by. `simulated`: simulated bodies answer, so any agency may have an adapter."""

    directory: Directory
    matrix: Matrix
    simulated: bool


def restart(received: datetime, priority: Priority, party: PartyRecord, *, simulated: bool) -> Restart:
    """The time an agency gets for a dispatch that enters its inbox then."""
    given = span(received, priority, party.policy)
    check = first_check(steps(given, priority, party.policy), given.received)
    return Restart(given.due, given.expires, check, adapter=simulated or party.channel is not Channel.INBOX)


async def add_addressees(
    connection: Connection,
    actor: Actor,
    referral_id: UUID,
    agencies: Sequence[str],
    reference: Reference,
) -> None:
    """Ask further agencies, or ended ones again. Raises `Problem` (409) where one is still open, or all is over.

    So it does where the referral was held before anybody was asked: going on with these, it would forget the others.
    """
    referral = await _lock(connection, referral_id)
    if referral.state == ReferralState.HELD and referral.open_dispatches == 0:
        facts = Facts(referral.originator, referral.crime_types, referral.addressees)
        if decide(facts, reference.matrix, reference.directory):
            raise Problem(STATE_CONFLICT, "Nobody has been asked yet; release it first.")
    parameters = {"id": referral_id, "agencies": list(agencies), "open": sorted(OPEN)}
    if (await connection.execute(_OPEN_AT, parameters)).first() is not None:
        raise Problem(STATE_CONFLICT, "An agency named is still being asked; chase it instead.")
    reason = "added by the co-ordinator"
    made = [_new(referral, agency, (ADDED, reason), reference) for agency in agencies]
    await lifecycle.open_dispatches(connection, actor, made, "referral.addressees_added")


async def redeliver(
    connection: Connection, actor: Actor, referral_id: UUID, dispatch_id: UUID, reference: Reference
) -> None:
    """Have an ended dispatch go out again, as a new one of the next round. Raises `Problem` (409) where it is open."""
    referral = await _lock(connection, referral_id)
    ended = (await connection.execute(_DISPATCH, {"id": referral_id, "dispatch_id": dispatch_id})).one()
    if ended.state not in FINAL:
        raise Problem(STATE_CONFLICT, "It is still open; chase it instead.")
    parameters = {"id": referral_id, "agencies": [ended.agency], "open": sorted(OPEN)}
    if (await connection.execute(_OPEN_AT, parameters)).first() is not None:
        raise Problem(STATE_CONFLICT, "A later round of it is still open.")
    reason = f"redelivered by the co-ordinator after it was {DispatchState(ended.state)}"
    await settle_alerts(connection, [dispatch_id])
    made = [_new(referral, ended.agency, (REDELIVERED, reason), reference)]
    await lifecycle.open_dispatches(connection, actor, made, "dispatch.redelivered")


async def _lock(connection: Connection, referral_id: UUID) -> _Locked:
    referral = (await connection.execute(_LOCK, {"id": referral_id})).one()
    if referral.disposed:
        raise Problem(DISPOSED)
    if referral.state not in _TAKES_MORE:
        raise Problem(STATE_CONFLICT, f"The referral is {referral.state}.")
    return referral


def _new(
    referral: _Locked,
    agency: str,
    why: tuple[str, str],
    reference: Reference,
) -> NewDispatch:
    party = reference.directory[agency]
    priority = Priority(priority_of(referral.priority))
    time = restart(referral.now, priority, party, simulated=reference.simulated)
    terms = Terms(
        rule=why[0],
        release=reference.matrix.release,
        reason=noted(why[1], party, london_day(referral.now)),
        gateway=propose_gateway(reference.directory[referral.originator], party, reference.matrix.gateways),
        due_at=time.due_at,
        expires_at=time.expires_at,
        next_check_at=time.next_check_at,
        # The co-ordinator who adds it has decided; only a referral that is held as a whole keeps it back.
        held=referral.state == ReferralState.HELD and referral.open_dispatches > 0,
        needs_release=False,
        adapter=time.adapter,
    )
    return NewDispatch(referral.id, agency, terms)
