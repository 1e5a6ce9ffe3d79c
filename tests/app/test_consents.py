"""Originator consent: who gave an answer is asked before it goes further, decides, and everybody concerned sees it."""

import json
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.access.policy import Role
from app.access.principal import behalf_of
from app.audit.entry import commitment, salt_of
from app.audit.record import Actor
from app.crypto.vault import Opener
from app.db import Connection, Database
from app.referrals.consents import _place
from app.referrals.states import CONSENT_MOVES, ConsentState
from app.retention import disposal, review
from app.retention.reference import rules
from app.retention.review import Decision
from app.retention.schedule import date_all
from app.settings import Settings
from tests.acts import Document, actions, dispatched, inbox, rows, slug
from tests.browser import signed_in
from tests.conftest import HIT, Cast, Workers

UNDER_CONSENT = {**HIT, "onward_disclosure": "consent_required"}
TO_GMP: Document = {"recipient": "GMP", "reason": "Quill moved to Salford: they search there on Friday."}
OUTSIDE: Document = {"recipient_outside": "Cardiff Council, licensing", "reason": "They decide on his licence."}
GIVEN: Document = {"decision": "given", "conditions": "Not to the subject's employer."}
REFUSED: Document = {"decision": "refused", "reason": "Our inquiry is still covert."}


async def answered(cast: Cast, workers: Workers, **changes: Any) -> tuple[httpx.AsyncClient, Document, str]:
    """South Wales, its referral as it is now, and where HMRC's answer to it is asked for consent."""
    force, [made] = await dispatched(cast, workers, "HMRC", "EA")
    hmrc = await cast.play("HMRC")
    [item] = await inbox(hmrc)
    assert (await hmrc.post(f"/v1/inbox/{item['id']}/response", json={**UNDER_CONSENT, **changes})).status_code == 201
    return force, made, f"/v1/referrals/{made['id']}/dispatches/{item['id']}/consents"


async def asked(client: httpx.AsyncClient, path: str, body: Document = TO_GMP, key: str | None = None) -> Document:
    """A consent just asked for."""
    headers = {"Idempotency-Key": key} if key else None
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    found: Document = answer.json()
    return found


async def listed(client: httpx.AsyncClient, made: Document) -> list[Document]:
    """The consents of a referral."""
    answer = await client.get(f"/v1/referrals/{made['id']}/consents")
    assert answer.status_code == 200, answer.text
    items: list[Document] = answer.json()["items"]
    return items


async def to_decide(client: httpx.AsyncClient, **query: str) -> list[Document]:
    """The consents in an agency's inbox."""
    answer = await client.get("/v1/inbox/consents", params=query)
    assert answer.status_code == 200, answer.text
    items: list[Document] = answer.json()["items"]
    return items


def decision(one: Document) -> str:
    """Where a consent is decided."""
    return f"/v1/consents/{one['id']}/decision"


async def test_the_body_that_answered_is_asked_decides_and_whoever_asked_sees_it(cast: Cast, workers: Workers) -> None:
    force, made, path = await answered(cast, workers)
    hmrc = await cast.play("HMRC")
    one = await asked(force, path)
    assert (one["state"], one["agency"], one["asked_by"], one["recipient"]) == ("asked", "HMRC", "SWP", "GMP")
    [waiting] = await to_decide(hmrc)
    assert waiting == one
    assert (waiting["reference"], waiting["reason"]) == (made["reference"], TO_GMP["reason"])
    answer = await hmrc.post(decision(one), json=GIVEN)
    assert answer.status_code == 200, answer.text
    assert await to_decide(hmrc) == []
    for client in (force, await cast.play("TARIAN"), await cast.play("GAIN", Role.NATIONAL)):
        [found] = await listed(client, made)
        assert found == answer.json()
        assert (found["state"], found["settled_by"], found["conditions"]) == ("given", "HMRC", GIVEN["conditions"])
    assert [found["id"] for found in await to_decide(hmrc, state="given")] == [one["id"]]


async def test_a_refusal_says_why_and_one_outside_is_named_in_words(cast: Cast, workers: Workers) -> None:
    force, made, path = await answered(cast, workers)
    hmrc = await cast.play("HMRC")
    one = await asked(force, path, OUTSIDE)
    assert (one["recipient"], one["recipient_outside"]) == (None, OUTSIDE["recipient_outside"])
    assert (await hmrc.post(decision(one), json=REFUSED)).status_code == 200
    [found] = await listed(force, made)
    assert (found["state"], found["refusal"], found["conditions"]) == ("refused", REFUSED["reason"], None)
    # What was refused can be asked for again, with better reason.
    again = await asked(force, path, {**OUTSIDE, "reason": "The inquiry is over."})
    assert [one["state"] for one in await listed(force, made)] == ["refused", "asked"]
    assert [one["id"] for one in await to_decide(hmrc)] == [again["id"]]


async def test_the_same_decision_again_changes_nothing_and_another_is_refused(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, _, path = await answered(cast, workers)
    hmrc = await cast.play("HMRC")
    one = await asked(force, path)
    first = await hmrc.post(decision(one), json=GIVEN)
    again = await (await cast.play("HMRC")).post(decision(one), json=GIVEN)
    assert (again.status_code, again.json()) == (200, first.json())
    for other in ({"decision": "given"}, REFUSED):
        answer = await hmrc.post(decision(one), json=other)
        assert (answer.status_code, slug(answer)) == (409, "state-conflict")
    assert (await actions(database)).count("consent.given") == 1
    withdrawn = await force.post(f"/v1/consents/{one['id']}/withdrawal")
    assert (withdrawn.status_code, slug(withdrawn)) == (409, "state-conflict")


async def test_who_asked_or_the_co_ordinator_withdraws_it_and_then_nobody_decides(cast: Cast, workers: Workers) -> None:
    force, made, path = await answered(cast, workers)
    tarian, hmrc = await cast.play("TARIAN"), await cast.play("HMRC")
    of_force, of_tarian = await asked(force, path), await asked(tarian, path, OUTSIDE)
    # A colleague of the force's, with a key of its own, is the force.
    answer = await (await cast.play("SWP")).post(f"/v1/consents/{of_force['id']}/withdrawal")
    assert (answer.status_code, answer.json()["state"], answer.json()["settled_by"]) == (200, "withdrawn", "SWP")
    assert (await force.post(f"/v1/consents/{of_force['id']}/withdrawal")).json() == answer.json()
    late = await hmrc.post(decision(of_force), json=GIVEN)
    assert (late.status_code, slug(late)) == (410, "no-longer-open")
    not_mine = await force.post(f"/v1/consents/{of_tarian['id']}/withdrawal")
    assert (not_mine.status_code, slug(not_mine)) == (409, "state-conflict")
    third = await asked(force, path)
    for one in (of_tarian, third):
        assert (await tarian.post(f"/v1/consents/{one['id']}/withdrawal")).status_code == 200
    assert {one["state"] for one in await listed(force, made)} == {"withdrawn"}
    assert await to_decide(hmrc) == []


async def test_a_stranger_finds_nothing_to_ask_to_see_to_decide_or_to_withdraw(cast: Cast, workers: Workers) -> None:
    force, made, path = await answered(cast, workers)
    one = await asked(force, path)
    for party in ("GMP", "WMROCU"):
        stranger = await cast.play(party)
        for answer in (
            await stranger.post(path, json=OUTSIDE),
            await stranger.get(f"/v1/referrals/{made['id']}/consents"),
            await stranger.post(f"/v1/consents/{one['id']}/withdrawal"),
        ):
            assert (answer.status_code, slug(answer)) == (404, "not-found")
    ea = await cast.play("EA")  # asked about the same referral, and not the one that answered
    assert await to_decide(ea) == []
    answer = await ea.post(decision(one), json=GIVEN)
    assert (answer.status_code, slug(answer)) == (404, "not-found")
    assert [found["state"] for found in await listed(force, made)] == ["asked"]


async def test_only_an_answer_goes_further_and_only_to_who_has_it_not(cast: Cast, workers: Workers) -> None:
    force, made, path = await answered(cast, workers)
    now = (await force.get(f"/v1/referrals/{made['id']}")).json()
    open_one = next(one["id"] for one in now["dispatches"] if one["agency"] == "EA")
    answer = await force.post(f"/v1/referrals/{made['id']}/dispatches/{open_one}/consents", json=TO_GMP)
    assert (answer.status_code, slug(answer)) == (409, "state-conflict")
    for recipient in ("SWP", "HMRC", "NOBODY"):
        answer = await force.post(path, json={**TO_GMP, "recipient": recipient})
        assert (answer.status_code, slug(answer)) == (422, "invalid-body")
        assert answer.json()["errors"][0]["pointer"] == "/recipient"
    for body in ({"reason": "Why."}, {**TO_GMP, **OUTSIDE}, {"recipient": "GMP"}):
        answer = await force.post(path, json=body)
        assert (answer.status_code, slug(answer)) == (422, "invalid-body")
    hmrc, one = await cast.play("HMRC"), await asked(force, path)
    for body in ({"decision": "refused"}, {**GIVEN, "reason": "Both."}, {**REFUSED, "conditions": "Both."}):
        answer = await hmrc.post(decision(one), json=body)
        assert (answer.status_code, slug(answer)) == (422, "invalid-body")
    twice = await force.post(path, json=TO_GMP)
    assert (twice.status_code, slug(twice)) == (409, "state-conflict")
    assert len(await listed(force, made)) == 1


async def test_the_same_key_asks_withdraws_and_chases_once(cast: Cast, workers: Workers, database: Database) -> None:
    force, made, path = await answered(cast, workers)
    tarian = await cast.play("TARIAN")
    one = await asked(force, path, key="ask-1")
    again = await force.post(path, json=TO_GMP, headers={"Idempotency-Key": "ask-1"})
    assert (again.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (201, one, "true")
    other = await force.post(path, json=OUTSIDE, headers={"Idempotency-Key": "ask-1"})
    assert (other.status_code, slug(other)) == (422, "idempotency-key-reused")
    for path_of, client, action in (
        (f"/v1/consents/{one['id']}/chase", tarian, "consent.chased"),
        (f"/v1/consents/{one['id']}/withdrawal", force, "consent.withdrawn"),
    ):
        first = await client.post(path_of, headers={"Idempotency-Key": action})
        second = await client.post(path_of, headers={"Idempotency-Key": action})
        assert (first.status_code, second.status_code, second.json()) == (200, 200, first.json())
        assert second.headers["Idempotent-Replayed"] == "true"
        assert (await actions(database)).count(action) == 1
    settled = await tarian.post(f"/v1/consents/{one['id']}/chase")
    assert (settled.status_code, slug(settled)) == (409, "state-conflict")
    assert len(await listed(force, made)) == 1


async def test_a_chase_shows_in_the_list_that_the_body_reads(cast: Cast, workers: Workers) -> None:
    force, _, path = await answered(cast, workers)
    one = await asked(force, path)
    chased = await (await cast.play("TARIAN")).post(f"/v1/consents/{one['id']}/chase")
    assert (chased.status_code, chased.json()["chases"]) == (200, 1)
    [found] = await to_decide(await cast.play("HMRC"))
    assert found["chases"] == 1
    assert found["chased_at"] == chased.json()["chased_at"]


async def test_the_list_of_an_agency_has_a_tag_that_every_change_of_it_changes(cast: Cast, workers: Workers) -> None:
    force, _, path = await answered(cast, workers)
    hmrc = await cast.play("HMRC")
    tags = []

    async def tag() -> str:
        found = (await hmrc.get("/v1/inbox/consents")).headers["ETag"]
        answer = await hmrc.get("/v1/inbox/consents", headers={"If-None-Match": found})
        assert (answer.status_code, answer.content) == (304, b"")
        return found

    one = await asked(force, path)
    tags.append(await tag())
    assert (await hmrc.post(decision(one), json=GIVEN)).status_code == 200
    tags.append(await tag())
    assert len(set(tags)) == len(tags)


async def test_an_agency_reads_its_list_page_by_page(cast: Cast, workers: Workers) -> None:
    force, _, path = await answered(cast, workers)
    made = [await asked(force, path, {**OUTSIDE, "recipient_outside": f"Office {number}"}) for number in range(3)]
    hmrc = await cast.play("HMRC")
    first = (await hmrc.get("/v1/inbox/consents?limit=2")).json()
    last = (await hmrc.get("/v1/inbox/consents", params={"limit": 2, "cursor": first["next"]})).json()
    assert [one["id"] for one in first["items"] + last["items"]] == [one["id"] for one in made]
    assert last["next"] is None
    strange = await hmrc.get("/v1/inbox/consents", params={"state": "given", "cursor": first["next"]})
    assert (strange.status_code, slug(strange)) == (400, "bad-cursor")


async def test_every_step_is_logged_in_codes_and_only_giving_it_is_a_disclosure(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, made, path = await answered(cast, workers)
    hmrc = await cast.play("HMRC")
    one, outside = await asked(force, path), await asked(force, path, OUTSIDE)
    await hmrc.post(decision(one), json=GIVEN)
    await hmrc.post(decision(outside), json=GIVEN)
    kept = await rows(database, "SELECT * FROM audit_event ORDER BY id")
    logged = [row for row in kept if row["action"].startswith("consent.")]
    assert [(row["action"], row["operation"], row["party"], row["recipients"]) for row in logged] == [
        ("consent.asked", "collection", "SWP", None),
        ("consent.asked", "collection", "SWP", None),
        ("consent.given", "disclosure", "HMRC", ["GMP"]),
        ("consent.given", "disclosure", "HMRC", None),
    ]
    assert logged[2]["detail"] == {"consent": one["id"], "recipient": "GMP"}
    assert logged[3]["detail"] == {"consent": outside["id"], "recipient": "outside"}
    # To whom outside it went, the log commits to: who is told the name can prove it, and nobody guesses it.
    assert [row["commitments"] for row in logged[:3]] == [None, None, None]
    [kept_beside] = await rows(database, "SELECT event_id, salt FROM audit_salt")
    assert kept_beside["event_id"] == logged[3]["id"]
    proof = commitment(salt_of(kept_beside["salt"], "recipient"), OUTSIDE["recipient_outside"])
    assert logged[3]["commitments"] == {"recipient": proof}
    assert "Cardiff" not in str(kept)
    told = (await force.get(f"/v1/referrals/{made['id']}/events")).json()["items"]
    assert [event["event"] for event in told][-4:] == [row["action"] for row in logged]
    assert not [word for word in ("Salford", "Cardiff", "employer") if word in json.dumps(told)]
    await to_decide(hmrc, state="given")
    await listed(force, made)
    # Asking and deciding are answered with the consent: that is a look at it too.
    assert [one for one in await actions(database, "consultation") if one.startswith("consents.")] == [
        *("consents.read", "consents.read", "consents.listed", "consents.listed"), "consents.listed", "consents.read",
    ]  # fmt: skip


async def test_the_product_names_who_may_have_what_all_the_same(cast: Cast, workers: Workers) -> None:
    force, made, path = await answered(cast, workers)
    hmrc = await cast.play("HMRC")
    one, _ = await asked(force, path), await asked(force, path, OUTSIDE)
    await hmrc.post(decision(one), json=GIVEN)
    address = f"/v1/referrals/{made['id']}/product"
    product = (await force.get(address)).json()
    assert product["consent_required_from"] == ["HMRC"]
    [given] = product["consents_given"]
    assert (given["agency"], given["recipient"], given["conditions"]) == ("HMRC", "GMP", GIVEN["conditions"])
    page = (await force.get(address, headers={"Accept": "text/html"})).text
    assert (
        "HM Revenue and Customs (HMRC) has consented that its answer goes to Greater Manchester Police (GMP)." in page
    )
    assert "Cardiff" not in page


async def test_what_is_written_is_sealed_and_goes_with_the_referrals_key(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, _, path = await answered(cast, workers)
    hmrc = await cast.play("HMRC")
    one = await asked(force, path, OUTSIDE)
    await hmrc.post(decision(one), json=GIVEN)
    [row] = await rows(database, "SELECT consent.*, ring_key, wrapped FROM consent JOIN data_key USING (referral_id)")
    assert not [
        word for word in (b"Cardiff", b"licence", b"employer") if word in row["content"] + row["sealed_decision"]
    ]
    async with database.transaction() as connection:
        [kept] = (
            await connection.execute(
                text("SELECT consent.*, ring_key, wrapped FROM consent JOIN data_key USING (referral_id)")
            )
        ).all()
        opener = Opener(connection)
        place = _place(kept.id, "content")
        assert json.loads(opener.value(place, kept.referral_id, kept, kept.content)) == OUTSIDE


async def test_disposal_takes_the_words_and_leaves_who_and_when(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    hmrc = await cast.play("HMRC")
    [item] = await inbox(hmrc)
    assert (await hmrc.post(f"/v1/inbox/{item['id']}/response", json=UNDER_CONSENT)).status_code == 201
    path = f"/v1/referrals/{made['id']}/dispatches/{item['id']}/consents"
    given, open_one = await asked(force, path), await asked(force, path, OUTSIDE)
    assert (await hmrc.post(decision(given), json=GIVEN)).status_code == 200
    await date_all(database, rules())
    operator = Actor("GAIN", "operator tests")
    async with database.transaction() as connection:
        goes = Decision(None, early=True, reason="No further use.")
        await review.decide(connection, operator, rules(), UUID(made["id"]), goes)
    assert await disposal.dispose_all(database, operator) == 1
    kept = await rows(database, "SELECT state, recipient, content, sealed_decision FROM consent ORDER BY id")
    assert kept == [
        {"state": "given", "recipient": "GMP", "content": b"", "sealed_decision": b""},
        {"state": "withdrawn", "recipient": None, "content": b"", "sealed_decision": None},
    ]
    [found] = await to_decide(hmrc, state="given")
    assert (found["reason"], found["conditions"], found["recipient"]) == (None, None, "GMP")
    assert slug(await hmrc.post(decision(open_one), json=GIVEN)) == "no-longer-open"
    for answer in (await force.get(f"/v1/referrals/{made['id']}/consents"), await force.post(path, json=TO_GMP)):
        assert (answer.status_code, slug(answer)) == (410, "disposed")
    browser = await signed_in(cast, "HMRC")
    for page in (f"/my-inbox/consents/{given['id']}", f"/my-inbox/{item['id']}", "/my-inbox"):
        assert (await browser.get(page)).status_code == 200, page


def put(state: ConsentState) -> str:
    """What takes every consent to a state, with all that belongs to that."""
    is_asked, decided = state is ConsentState.ASKED, state in (ConsentState.GIVEN, ConsentState.REFUSED)
    at, decision = "NULL" if is_asked else "now()", "''" if decided else "NULL"
    return f"UPDATE consent SET state = '{state}', settled_at = {at}, sealed_decision = {decision}"  # noqa: S608


async def _refused(connection: Connection, statement: str) -> str:
    """What PostgreSQL says against a statement, empty where it lets it pass. Nothing is left of the try."""
    attempt = await connection.begin_nested()
    try:
        await connection.execute(text(statement))
    except DBAPIError as error:
        return str(error.orig)
    finally:
        await attempt.rollback()
    return ""


async def test_postgresql_knows_exactly_the_moves_of_the_program(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, _, path = await answered(cast, workers)
    await asked(force, path)
    for before in ConsentState:
        async with database.transaction() as connection:
            if before is not ConsentState.ASKED:
                await connection.execute(text(put(before)))
            allowed = {after for after in ConsentState if not await _refused(connection, put(after))}
            assert allowed == CONSENT_MOVES[before] | {before}
            await connection.rollback()


async def test_nobody_gives_consent_in_the_place_of_the_body_not_even_by_sql(
    cast: Cast, workers: Workers, configuration: Settings
) -> None:
    force, _, path = await answered(cast, workers)
    await asked(force, path)
    house = Database(configuration)
    try:
        for role, party, statement in (
            (Role.ORIGINATOR, "SWP", "state = 'withdrawn', settled_at = now()"),
            (Role.ORIGINATOR, "SWP", "state = 'given', settled_at = now()"),
            (Role.ORIGINATOR, "SWP", "sealed_decision = ''"),
            (Role.COORDINATOR, "TARIAN", "state = 'refused', settled_at = now()"),
            (Role.NATIONAL, "GAIN", "state = 'given', settled_at = now()"),
            (Role.AGENCY, "HMRC", "state = 'withdrawn', settled_at = now()"),
            (Role.AGENCY, "HMRC", "recipient = 'EA'"),
        ):
            async with house.transaction(behalf_of(role, [party])) as connection:
                said = await _refused(connection, f"UPDATE consent SET {statement}")  # noqa: S608
            allowed = (role, statement.split(",")[0]) == (Role.ORIGINATOR, "state = 'withdrawn'")
            assert ("permission denied" in said or "row-level security" in said) is not allowed, (role, statement)
    finally:
        await house.close()
