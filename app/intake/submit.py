"""`POST /v1/referrals`: validate, store durably, answer; the workers are woken after the answer."""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import asyncpg
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from uuid_utils.compat import uuid7

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.crypto.keys import Keys, Purpose
from app.crypto.sameness import sameness
from app.database_clock import DatabaseClock
from app.db import AS_GATEWAY
from app.errors import (
    BACKLOG,
    DISPOSED,
    IDEMPOTENCY_IN_FLIGHT,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_BODY,
    MARKING_NOT_ACCEPTED,
    NOT_JSON,
    UNKNOWN_ADDRESSEE,
    Problem,
)
from app.intake.coalescer import Coalescer
from app.parties.directory import Directory, DirectoryCache
from app.parties.policy import Policy
from app.referrals import queries
from app.referrals.accept import Receipt, Submission, earlier
from app.referrals.addressees import unknown_addressees
from app.referrals.backlog import Cause
from app.referrals.codes import rank
from app.referrals.deadlines import due_at
from app.referrals.documents import SubmittedReferral
from app.referrals.gauge import BacklogGauge
from app.referrals.shown import ReferralView
from app.referrals.states import ReferralState
from app.web.database import database
from app.web.docs import refusals
from app.web.idempotency import PLAUSIBLE_KEY, REPLAYED, IdempotencyKey
from app.web.json import json_answer, json_response, written
from app.web.routing import StrictRequest

_USUAL = Policy()
_WRITES = TypeAdapter(SubmittedReferral)


class SubmitRoute(AccessRoute):
    """A route that logs the refusal of a marking above OFFICIAL-SENSITIVE; nothing of the body is kept."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the refusal noticed."""
        handle = super().get_route_handler()

        async def noticing(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                if not any(fault["type"] == MARKING_NOT_ACCEPTED.slug for fault in error.errors()):
                    raise
                await _log_refusal(request)
                # Whatever else is wrong with the body: nothing more is said about what may not be here at all.
                detail = "this system takes OFFICIAL and OFFICIAL-SENSITIVE only"
                raise Problem(MARKING_NOT_ACCEPTED, errors=[{"pointer": "/marking", "detail": detail}]) from None

        return noticing

    async def shortcut(self, request: StrictRequest) -> Response | None:
        """A submission that is in order; what is not is told by the ordinary way."""
        key = request.headers.get("idempotency-key")
        if (key is not None and not PLAUSIBLE_KEY.fullmatch(key)) or not await request.body():
            return None
        try:
            body = SubmittedReferral.model_validate(await request.json())
        except ValidationError:
            return None
        return await submit(body, request, request.state.principal, key)


async def _log_refusal(request: Request) -> None:
    principal: Principal = request.state.principal
    async with database(request).transaction(principal.behalf) as connection:
        await record(connection, principal.actor, [Event(Operation.COLLECTION, "referral.refused_marking")])


router = APIRouter(route_class=SubmitRoute, tags=["originators"])


@router.post(
    "/v1/referrals",
    status_code=201,
    response_model=ReferralView,
    responses=refusals(NOT_JSON, INVALID_BODY, IDEMPOTENCY_IN_FLIGHT, DISPOSED, BACKLOG),
    summary="Submit a referral",
)
@permit(Action.SUBMIT_REFERRAL)
async def submit(
    body: SubmittedReferral,
    request: Request,
    principal: CurrentPrincipal,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Store a referral durably and answer 201 with it; its dispatches are made by the workers at once after."""
    directory = await _directory(request)
    _check_addressees(body, principal, directory)
    received = await _now(request)
    submission = _submission(body, principal, directory, request.app.state.keys, idempotency_key, received)
    receipt = await _store(request, submission)
    if receipt.conflict:
        raise Problem(IDEMPOTENCY_KEY_REUSED)
    if receipt.disposed:
        raise Problem(
            DISPOSED, "What this Idempotency-Key stood for was disposed of. Use a new key for a new referral."
        )
    request.app.state.wake.work()
    headers = {"Location": f"/v1/referrals/{receipt.referral_id}"}
    if not receipt.replayed and receipt.reference is not None:
        return json_answer(_made(submission, receipt), status=201, headers=headers)
    async with database(request).transaction(principal.behalf) as connection:
        referral = await queries.get(connection, queries.visible(principal, Action.READ_REFERRAL), receipt.referral_id)
        if receipt.replayed:
            # Who submits it has just sent the content; what is answered again may be months later.
            await queries.shown(connection, principal, receipt.referral_id)
            headers |= REPLAYED
    return json_response(referral, status=201, headers=headers)


def _made(submission: Submission, receipt: Receipt) -> bytes:
    """The referral just made, without reading it back: it has no dispatches yet.

    What was stored is JSON already, and is put in as it is: none of its fields has the name of another of these.
    """
    columns = {
        "id": receipt.referral_id,
        "reference": receipt.reference,
        "originator": submission.actor.party,
        "state": ReferralState.ACCEPTED,
        "created_at": receipt.created_at,
        "updated_at": receipt.created_at,
        "respond_by": submission.respond_by,
        "reason": None,
    }
    return b"".join((written(columns)[:-1], b",", submission.content[1:-1], b',"dispatches":[]}'))


async def _directory(request: Request) -> Directory:
    cache: DirectoryCache = request.app.state.directory
    return await cache.read(database(request))


def _check_addressees(body: SubmittedReferral, principal: Principal, directory: Directory) -> None:
    """Every addressee is a party that receives referrals, and not the originator itself."""
    errors = unknown_addressees(body.addressees, principal.party, directory)
    if errors:
        raise Problem(UNKNOWN_ADDRESSEE, errors=errors)


async def _now(request: Request) -> datetime:
    """The database's time, as `created_at` will be. It is asked for by the first request alone, if by any."""
    known: DatabaseClock = request.app.state.database_clock
    if not known.is_known:
        async with database(request).transaction(AS_GATEWAY) as connection:
            await known.look(connection)
    return known.now()


def _submission(
    body: SubmittedReferral,
    principal: Principal,
    directory: Directory,
    keys: Keys,
    idempotency_key: str | None,
    received: datetime,
) -> Submission:
    keyed = idempotency_key is not None
    return Submission(
        id=uuid7(),
        actor=principal.actor,
        region=directory[principal.party].region,
        priority=rank(body.priority),
        crime_types=[crime_type.value for crime_type in body.crime_types],
        addressees=body.addressees,
        content=_WRITES.dump_json(body, exclude_unset=True),
        respond_by=due_at(received, body.priority, _USUAL),
        # The key is the client's own text: only a keyed hash of it is kept.
        key=keys.digest(Purpose.IDEMPOTENCY, idempotency_key.encode()) if idempotency_key is not None else None,
        # Left out and given as its default mean the same, so the whole document is compared, not what was sent.
        sameness=sameness(keys, body.model_dump(mode="json")) if keyed else None,
    )


async def _store(request: Request, submission: Submission) -> Receipt:
    coalescer: Coalescer = request.app.state.coalescer
    if not coalescer.takes(submission.priority):
        return await _replay(request, submission)
    try:
        return await coalescer.submit(submission)
    except asyncpg.LockNotAvailableError:
        raise Problem(IDEMPOTENCY_IN_FLIGHT, retry_after=1) from None


_WHY = {
    Cause.LINE: "Referrals arrive faster than they can be taken in beside the work that those before them give.",
    Cause.REFERRALS: "Referrals arrive faster than they are passed on to agencies.",
    Cause.SECONDS: "Accepted referrals have not been passed on to agencies for minutes; the operator can see it too.",
}


async def _replay(request: Request, submission: Submission) -> Receipt:
    """What its key stands for already is answered all the same. Raises `Problem` (503) for a new submission."""
    if submission.key is not None:
        async with database(request).transaction(request.state.behalf) as connection:
            receipt = await earlier(connection, submission)
        if receipt is not None:
            return receipt
    gauge: BacklogGauge = request.app.state.backlog
    why = _WHY[gauge.cause(submission.priority)]
    raise Problem(BACKLOG, f"{why} {BACKLOG.advice}", retry_after=gauge.refused(submission.priority))
