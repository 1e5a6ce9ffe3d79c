"""Answers come through this verb, whoever gives them: an agency over HTTP or an adapter in a worker."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from app.audit.record import Actor
from app.crypto.sealing import Place
from app.crypto.vault import Opener, data_keys
from app.db import Connection, Numbered
from app.referrals.alerts import raise_alerts
from app.referrals.codes import DeclineReason
from app.referrals.lifecycle.claim import claim_holds
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.states import FINAL, STATE_OF, AlertKind, DispatchState, Outcome


class Verdict(StrEnum):
    """What an answer came to."""

    RECORDED = "recorded"  # accepted: the first answer, or a question
    REPEATED = "repeated"  # the same again: nothing changes
    CONFLICT = "conflict"  # a different answer than the one accepted; kept as evidence
    NO_LONGER_OPEN = "no_longer_open"  # cancelled or expired; kept as late evidence
    DISPOSED = "disposed"  # its referral was disposed of: not even evidence is kept
    NOT_FOUND = "not_found"  # unknown, or not this agency's
    HELD_BY_ANOTHER = "held_by_another"  # another consumer of the agency holds the item, or the claim named has ended
    SUPERSEDED = "superseded"  # the hand-over it answers was given to someone else since
    TOO_MANY_QUESTIONS = "too_many_questions"  # as many as are taken about one dispatch were asked before


MOST_QUESTIONS = 20
"""How many questions an agency may ask about one dispatch: what is still unclear then is cleared by speaking.

Each has at most one reply, and an item is given with all of them: 20 bodies of 256 KiB and 20 paragraphs stand beside
one referral at most, which is 5.4 MiB as they are kept; of these an item shows 20 times 12,000 characters.
"""


class Answer(NamedTuple):
    """One answer or question of the actor's party to one dispatch.

    `content` is the validated document in JSON, not yet sealed; `attempt` is the hand-over an adapter answers, None
    over HTTP; `claim_id` is the claim it is given under, if any; `decline_reason` is kept beside the content, to count.
    """

    dispatch_id: UUID
    actor: Actor
    outcome: Outcome
    content: bytes
    sameness: bytes
    attempt: int | None = None
    claim_id: UUID | None = None
    decline_reason: DeclineReason | None = None


class Recorded(NamedTuple):
    """The verdict on an answer, the id of the response that is kept (None where none is), and its dispatch's state."""

    verdict: Verdict
    response_id: UUID | None = None
    state: str | None = None


class _Locked(NamedTuple):
    """A dispatch that is answered, locked with its referral."""

    id: UUID
    referral_id: UUID
    agency: str
    state: str
    attempt: int
    replies: int
    claim_id: UUID | None
    claim_lives: bool | None
    ring_key: str | None
    wrapped: bytes | None
    disposed: bool


_FLAGS = {Verdict.RECORDED: None, Verdict.CONFLICT: "conflict", Verdict.NO_LONGER_OPEN: "late"}

_ALERTS = {Verdict.CONFLICT: AlertKind.CONFLICTING_ANSWER, Verdict.NO_LONGER_OPEN: AlertKind.LATE_ANSWER}

_LOCK = Numbered.of("""
    SELECT dispatch.id, dispatch.referral_id, dispatch.agency, dispatch.state, dispatch.attempt, dispatch.replies,
           dispatch.claim_id, dispatch.claim_expires_at > now() AS claim_lives, data_key.ring_key, data_key.wrapped,
           referral.disposed_at IS NOT NULL AS disposed
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
      LEFT JOIN data_key ON data_key.referral_id = dispatch.referral_id
     WHERE dispatch.id = ANY(CAST(:ids AS uuid[])) AND dispatch.queued_at IS NOT NULL
     ORDER BY referral.id, dispatch.id
       FOR NO KEY UPDATE OF referral, dispatch
""")

_KNOWN = Numbered.of("""
    SELECT id, dispatch_id, sameness, flag, outcome FROM response WHERE dispatch_id = ANY(CAST(:ids AS uuid[]))
""")

# One statement stores, logs, moves and settles, so that what answers have in common goes over the wire once; codes go
# as one text, which costs the driver a fiftieth of an array. The log has an answer before what it leads to.
_STORE = Numbered.of("""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:dispatches AS uuid[]), CAST(:referrals AS uuid[]),
            string_to_array(:agencies, ','), string_to_array(:outcomes, ','), CAST(:contents AS bytea[]),
            CAST(:samenesses AS bytea[]), string_to_array(:verdicts, ','), string_to_array(:states, ',', ''),
            string_to_array(:reasons, ',', ''), CAST(:actors AS text[]), CAST(:requests AS text[]))
        AS given (id, dispatch_id, referral_id, agency, outcome, content, sameness, verdict, state, reason, actor,
                  request_id)
    ), stored AS (
        INSERT INTO response (id, dispatch_id, referral_id, agency, outcome, content, sameness, flag, recorded_by,
                              sealed)
        SELECT id, dispatch_id, referral_id, agency, outcome, content, sameness,
               CASE verdict WHEN 'conflict' THEN 'conflict' WHEN 'no_longer_open' THEN 'late' END, actor, true
          FROM given
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id, detail)
        SELECT 'collection', 'response.' || verdict, agency, actor, request_id, referral_id, dispatch_id,
               jsonb_build_object('outcome', outcome)
          FROM given
        RETURNING true AS done
    ), moved AS (
        UPDATE dispatch
           SET state = given.state, due_delivery_at = NULL, next_check_at = NULL,
               queried_at = CASE WHEN given.state = 'query' THEN coalesce(dispatch.queried_at, now()) END,
               outcome = CASE WHEN given.state <> 'query' THEN given.outcome END, decline_reason = given.reason,
               answered_at = CASE WHEN given.state <> 'query' THEN now() END,
               closed_at = CASE WHEN given.state <> 'query' THEN now() END
          FROM given WHERE dispatch.id = given.dispatch_id AND given.state IS NOT NULL
        RETURNING dispatch.referral_id, dispatch.state
    ), counted AS (
        UPDATE referral
           SET updated_at = now(),
               open_dispatches = open_dispatches - closed.number,
               state = CASE WHEN open_dispatches = closed.number THEN 'completed' ELSE state END
          FROM (SELECT referral_id, count(*) FILTER (WHERE state <> 'query') AS number
                  FROM moved GROUP BY referral_id) AS closed
         WHERE referral.id = closed.referral_id
        RETURNING id, state
    ), settled AS (
        -- What was answered needs nobody any more.
        UPDATE alert SET settled_at = now()
         WHERE dispatch_id = ANY(ARRAY(SELECT dispatch_id FROM given WHERE verdict = 'recorded'))
           AND settled_at IS NULL AND kind IN ('urgent_unacknowledged', 'notice_failed')
    )
    INSERT INTO audit_event (operation, action, party, actor, referral_id)
    SELECT 'alteration', 'referral.completed', 'GAIN', 'lifecycle', id
      FROM counted WHERE state = 'completed' AND (SELECT bool_and(done) FROM logged)
""")

_ASKED = Numbered.of("""
    UPDATE dispatch SET said_bytes = said_bytes + given.bytes
      FROM unnest(CAST(:ids AS uuid[]), CAST(:bytes AS integer[])) AS given (id, bytes) WHERE dispatch.id = given.id
""")


def judge(state: str, known_flag: str | None, *, known: bool) -> Verdict:
    """Pure: what an answer comes to, given its dispatch's state and whether (and how flagged) it is kept already."""
    if state in (DispatchState.CANCELLED, DispatchState.EXPIRED, DispatchState.UNDELIVERABLE):
        return Verdict.NO_LONGER_OPEN
    if known:
        return Verdict.REPEATED if known_flag is None else Verdict.CONFLICT
    if state in FINAL:
        return Verdict.CONFLICT
    return Verdict.RECORDED


async def record_answers(connection: Connection, answers: Sequence[Answer]) -> list[Recorded]:
    """Record answers in the caller's transaction; the verdicts in the same order. Commit even where one is refused.

    Of several answers to one dispatch in one call, the first counts as the earlier.
    """
    ids = {"ids": [answer.dispatch_id for answer in answers]}
    dispatches = {id: _Locked(id, *rest) for id, *rest in await _LOCK.within(connection, ids)}
    states = {key: row.state for key, row in dispatches.items()}
    known = await _KNOWN.within(connection, ids)
    kept = {(of, sameness): (id, flag) for id, of, sameness, flag, _ in known}
    asked = Counter(of for _, of, _, flag, outcome in known if flag is None and outcome == Outcome.MORE_INFORMATION)
    results: list[Recorded] = []
    stored: list[tuple[UUID, Answer, Verdict]] = []
    for answer in answers:
        dispatch = dispatches.get(answer.dispatch_id)
        if dispatch is None or dispatch.agency != answer.actor.party:
            results.append(Recorded(Verdict.NOT_FOUND))
            continue
        if dispatch.disposed:
            results.append(Recorded(Verdict.DISPOSED))
            continue
        meanings = _meanings(answer, dispatch.replies, states[answer.dispatch_id])
        answer = answer._replace(sameness=meanings[0])
        before = next((kept[key] for one in meanings if (key := (answer.dispatch_id, one)) in kept), None)
        verdict = judge(states[answer.dispatch_id], before[1] if before else None, known=before is not None)
        if before is not None:
            results.append(Recorded(verdict, before[0], states[answer.dispatch_id]))
            continue
        if verdict is Verdict.RECORDED and (refusal := _overtaken(answer, dispatch) or _too_many(answer, asked)):
            results.append(Recorded(refusal))
            continue
        response_id = uuid7()
        kept[answer.dispatch_id, answer.sameness] = (response_id, _FLAGS[verdict])
        if verdict is Verdict.RECORDED:
            states[answer.dispatch_id] = STATE_OF[answer.outcome]
            asked[answer.dispatch_id] += answer.outcome == Outcome.MORE_INFORMATION
        stored.append((response_id, answer, verdict))
        results.append(Recorded(verdict, response_id, states[answer.dispatch_id]))
    await _store(connection, stored, dispatches)
    await _tell_coordinators(connection, stored)
    return results


def _meanings(answer: Answer, replies: int, state: str) -> list[bytes]:
    """Pure: the samenesses under which the same may be kept already; the first is its own.

    A question asked again after a reply is a new one, until the dispatch has ended: then nothing new is asked.
    """
    if answer.outcome != Outcome.MORE_INFORMATION or not replies:
        return [answer.sameness]
    asked_after = range(replies, -1, -1) if state in FINAL else [replies]
    return [_asked_after(answer.sameness, number) for number in asked_after]


def _asked_after(sameness: bytes, replies: int) -> bytes:
    return hashlib.sha256(sameness + replies.to_bytes(2)).digest() if replies else sameness


def _overtaken(answer: Answer, dispatch: _Locked) -> Verdict | None:
    """Whether someone else has been given this dispatch since the answer's giver took it."""
    if answer.attempt is not None:
        return None if answer.attempt == dispatch.attempt else Verdict.SUPERSEDED
    if claim_holds(answer.claim_id, dispatch.claim_id, lives=bool(dispatch.claim_lives)):
        return None
    return Verdict.HELD_BY_ANOTHER


def _too_many(answer: Answer, asked: Mapping[UUID, int]) -> Verdict | None:
    """Whether no more questions are taken about this dispatch.

    An adapter's are: it asks again only when a person has replied, and refused it would only be handed the same anew.
    """
    if answer.attempt is not None or answer.outcome != Outcome.MORE_INFORMATION:
        return None
    return Verdict.TOO_MANY_QUESTIONS if asked[answer.dispatch_id] >= MOST_QUESTIONS else None


async def _store(
    connection: Connection, stored: Sequence[tuple[UUID, Answer, Verdict]], dispatches: dict[UUID, _Locked]
) -> None:
    if not stored:
        return
    moves = _last_move_of_each(stored)
    answers = [answer for _, answer, _ in stored]
    contents = await _sealed(connection, stored, dispatches)
    await _STORE.within(
        connection,
        {
            "ids": [response_id for response_id, _, _ in stored],
            "dispatches": [answer.dispatch_id for answer in answers],
            "referrals": [dispatches[answer.dispatch_id].referral_id for answer in answers],
            "agencies": ",".join([answer.actor.party for answer in answers]),
            "outcomes": ",".join([answer.outcome for answer in answers]),
            "contents": contents,
            "samenesses": [answer.sameness for answer in answers],
            "verdicts": ",".join([verdict for _, _, verdict in stored]),
            "states": ",".join([moves.get(response_id, "") for response_id, _, _ in stored]),
            "reasons": ",".join([answer.decline_reason or "" for answer in answers]),
            "actors": [answer.actor.name for answer in answers],
            "requests": [answer.actor.request_id for answer in answers],
        },
    )
    await _measure(connection, stored, contents)
    if moves:
        moved = {answer.actor.party for response_id, answer, _ in stored if response_id in moves}
        await inboxes_changed(connection, moved)


async def _measure(
    connection: Connection, stored: Sequence[tuple[UUID, Answer, Verdict]], contents: Sequence[bytes]
) -> None:
    """What is asked makes its item larger. Apart from the rest: most answers are no questions, and pay nothing."""
    sizes: Counter[UUID] = Counter()
    for (_, answer, verdict), content in zip(stored, contents, strict=True):
        if verdict is Verdict.RECORDED and answer.outcome == Outcome.MORE_INFORMATION:
            sizes[answer.dispatch_id] += len(content)
    if sizes:
        await _ASKED.within(connection, {"ids": list(sizes), "bytes": list(sizes.values())})


async def _sealed(
    connection: Connection, stored: Sequence[tuple[UUID, Answer, Verdict]], dispatches: dict[UUID, _Locked]
) -> list[bytes]:
    """The contents as they are kept. Raises `Unopenable`."""
    opener = Opener(connection)
    rows = [dispatches[answer.dispatch_id] for _, answer, _ in stored]
    missing = {row.referral_id for row in rows if row.ring_key is None}
    keys = dict(await data_keys(connection, missing)) if missing else {}
    for row in rows:
        if row.referral_id not in keys:
            keys[row.referral_id] = opener.key(row.referral_id, row)
    return [
        keys[row.referral_id].seal(Place("response", "content", response_id), answer.content)
        for row, (response_id, answer, _) in zip(rows, stored, strict=True)
    ]


async def _tell_coordinators(connection: Connection, stored: Sequence[tuple[UUID, Answer, Verdict]]) -> None:
    """What was kept as evidence needs a decision."""
    for verdict, kind in _ALERTS.items():
        await raise_alerts(connection, kind, [answer.dispatch_id for _, answer, given in stored if given is verdict])


def _last_move_of_each(stored: Sequence[tuple[UUID, Answer, Verdict]]) -> dict[UUID, DispatchState]:
    """By the answer that moves it last: a question and then an answer in one call leave a dispatch at the latter."""
    last = {answer.dispatch_id: (key, answer) for key, answer, verdict in stored if verdict is Verdict.RECORDED}
    return {key: STATE_OF[answer.outcome] for key, answer in last.values()}
