"""No act without its entry in the log: where that cannot be written, the broker says 503, stores and tells nothing."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from app.db import Database
from tests.acts import NO_HIT, QUESTION, change, dispatched, inbox, rows, slug, submitted
from tests.conftest import Cast, Workers, referral

STANDBY = (
    """CREATE FUNCTION no_log() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'read_only_sql_transaction'; END $$""",
    "CREATE TRIGGER no_log BEFORE INSERT ON audit_event EXECUTE FUNCTION no_log()",
)


def revoked(table: str) -> tuple[str, ...]:
    return (
        f"""DO $$ DECLARE acting name; BEGIN
              FOR acting IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'gain\\_as\\_%' LOOP
                EXECUTE format('REVOKE INSERT ON {table} FROM %I', acting);
              END LOOP;
            END $$""",  # noqa: S608  a table's name
    )


def gone(table: str) -> tuple[str, ...]:
    return (f"ALTER TABLE {table} RENAME TO {table}_of_yesterday",)


AWAY = (STANDBY, revoked("audit_event"), gone("audit_event"))
SALT_AWAY = (revoked("audit_salt"), gone("audit_salt"))

STORED = """SELECT (SELECT count(*) FROM referral) AS referrals, (SELECT count(*) FROM response) AS answers,
    (SELECT count(*) FROM message) AS messages,
    (SELECT string_agg(state || coalesce(claim_id::text, ''), ' ' ORDER BY id) FROM dispatch) AS dispatches,
    (SELECT string_agg(state, ' ' ORDER BY id) FROM referral) AS states,
    (SELECT count(*) FROM legal_hold) AS holds"""

HELD = {"reason": "A claim of Mr Quill's is before the court."}


@pytest.mark.parametrize("way", AWAY, ids=["standby", "revoked", "gone"])
async def test_where_the_log_cannot_be_written_nothing_is_stored_and_nothing_told(
    cast: Cast, workers: Workers, database: Database, way: tuple[str, ...]
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC", "NRW")
    agency, asking, desk = [await cast.play(party) for party in ("HMRC", "NRW", "TARIAN")]
    [item] = await inbox(agency)
    [asked] = await inbox(asking)
    assert (await asking.post(f"/v1/inbox/{asked['id']}/response", json=QUESTION)).status_code == 201
    await submitted(force, addressees=["EA"])
    before = await rows(database, STORED)
    for statement in way:
        await change(database, statement)
    one = f"/v1/referrals/{made['id']}"
    acts: list[tuple[httpx.AsyncClient, str, str, Mapping[str, Any]]] = [
        (force, "POST", "/v1/referrals", referral()),
        (force, "GET", "/v1/referrals", {}),
        (force, "GET", one, {}),
        (force, "POST", f"{one}/cancel", {"reason": "No longer needed"}),
        (force, "POST", f"{one}/messages", {"dispatch_id": asked["id"], "text": "The first."}),
        (agency, "GET", "/v1/inbox", {}),
        (agency, "GET", f"/v1/inbox/{item['id']}", {}),
        (agency, "POST", "/v1/inbox/claims", {}),
        (agency, "POST", f"/v1/inbox/{item['id']}/acknowledgement", {}),
        (agency, "POST", "/v1/inbox/acknowledgements", {"ids": [item["id"]]}),
        (agency, "POST", f"/v1/inbox/{item['id']}/response", NO_HIT),
        (agency, "POST", "/v1/inbox/responses", {"items": [{"id": item["id"], **NO_HIT}]}),
        (desk, "GET", "/v1/queues", {}),
        (desk, "POST", f"{one}/legal-hold", HELD),
    ]
    for client, method, path, body in acts:
        answer = await client.request(method, path, json=body if method == "POST" else None)
        assert answer.status_code == 503, (method, path, answer.text)
        assert slug(answer) == "unavailable"
        assert answer.headers["retry-after"]
        assert "Quill" not in answer.text
    assert await rows(database, STORED) == before


@pytest.mark.parametrize("way", SALT_AWAY, ids=["revoked", "gone"])
async def test_where_an_entrys_private_words_cannot_be_committed_to_nothing_is_stored_either(
    cast: Cast, workers: Workers, database: Database, way: tuple[str, ...]
) -> None:
    _, [made] = await dispatched(cast, workers, "HMRC")
    desk = await cast.play("TARIAN")
    before = await rows(database, STORED)
    for statement in way:
        await change(database, statement)
    answer = await desk.post(f"/v1/referrals/{made['id']}/legal-hold", json=HELD)
    assert (answer.status_code, slug(answer)) == (503, "unavailable")
    assert answer.headers["retry-after"]
    assert "Quill" not in answer.text
    assert await rows(database, STORED) == before


async def test_once_the_log_is_back_all_goes_on(cast: Cast, workers: Workers, database: Database) -> None:
    force = await cast.play("SWP")
    for statement in STANDBY:
        await change(database, statement)
    refused = await force.post("/v1/referrals", json=referral(addressees=["HMRC"]))
    assert refused.status_code == 503
    await change(database, "DROP TRIGGER no_log ON audit_event")
    made = await submitted(force, addressees=["HMRC"])
    await workers.run()
    [item] = await inbox(await cast.play("HMRC"))
    assert item["reference"] == made["reference"]
