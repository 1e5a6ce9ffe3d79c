"""The auditor's pages: searching the log, one entry and its proof, and who may not."""

from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from app.access.policy import Role
from app.audit import checkpoints
from app.audit.note import Signer, VerifierKey
from app.audit.record import Actor, Event, Operation, record
from app.audit.seal import seal_all
from app.audit.search import Sought, search
from app.audit.verify_export import ExportRefused, verify_export
from app.crypto.keys import Keys
from app.db import AS_OWNER, AS_WORKER, Database
from app.settings import Settings
from tests.acts import Document, rows, submitted
from tests.app.people import invited, set_up
from tests.browser import ORIGIN, signed_in, submit
from tests.conftest import SECRET, Cast


async def sealed(database: Database, configuration: Settings) -> VerifierKey:
    """Everything so far sealed under a signed checkpoint; returns the key."""
    await seal_all(database)
    signer = Signer.of(Keys(SECRET.encode()), configuration.log_origin)
    async with database.transaction(AS_WORKER) as connection:
        await checkpoints.sign(connection, signer)
    return signer.key


@pytest.fixture
async def auditor(cast: Cast) -> httpx.AsyncClient:
    """A browser of an auditor."""
    return await signed_in(cast, "GAIN", Role.AUDITOR)


async def sequence_of(database: Database, action: str) -> int:
    """The place of the latest entry of this kind."""
    statement = """
        SELECT sequence FROM audit_entry JOIN audit_event ON audit_event.id = event_id
         WHERE action = :action ORDER BY sequence DESC LIMIT 1
    """
    found: int = (await rows(database, statement, action=action))[0]["sequence"]
    return found


async def test_a_reference_leads_to_what_was_done_with_that_referral(
    cast: Cast, auditor: httpx.AsyncClient, database: Database
) -> None:
    force = await cast.play("SWP")
    one, other = await submitted(force), await submitted(force)
    await force.get(f"/v1/referrals/{one['id']}")
    answer = await submit(auditor, "/log", {"referral": one["reference"]})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/log?referral={one['id']}"
    page = await auditor.get(answer.headers["location"])
    assert "Referral read" in page.text
    assert one["reference"] in page.text  # the form as it was filled in
    assert other["id"] not in page.text
    events = await rows(database, "SELECT * FROM audit_event WHERE action = 'audit.searched' ORDER BY id")
    event = events[-1]
    assert (str(event["referral_id"]), event["operation"]) == (one["id"], "consultation")


async def test_a_person_is_found_by_name_and_their_name_stands_in_no_address(
    cast: Cast, auditor: httpx.AsyncClient, database: Database
) -> None:
    await set_up(cast.client(ORIGIN), await invited(database, "SWP", "c.analyst@swp.example", name="Ceri Analyst"))
    answer = await submit(auditor, "/log", {"who": "ceri analyst"})
    assert answer.status_code == 303
    assert "eri" not in answer.headers["location"]
    assert "Ceri Analyst" in (await auditor.get(answer.headers["location"])).text


async def test_what_nobody_has_done_is_told_beside_the_field(auditor: httpx.AsyncClient) -> None:
    answer = await submit(
        auditor, "/log", {"who": "No Such Person", "referral": "GAIN-1999-000001", "since": "yesterday"}
    )
    assert answer.status_code == 422
    for words in ("Nobody has this name", "There is no referral", "Give a day"):
        assert words in answer.text


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("who", "Quill"), ("who", "rhys.quil@swp.example"), ("who", "operator Quill"), ("who", "command:quill"),
        ("who", "0190aaaa-0000-7000-8000-000000000000"), ("party", "QUILL"), ("party", "Rhys Quill"),
    ],
)  # fmt: skip
async def test_a_name_that_is_typed_by_mistake_reaches_neither_an_address_nor_the_log(
    auditor: httpx.AsyncClient, database: Database, field: str, typed: str
) -> None:
    """Posted or put into an address: it is refused beside its field, and nothing is looked for or kept."""
    before = len(await rows(database, "SELECT id FROM audit_event"))
    words = {"who": "Nobody has this name", "party": "There is no party of this code"}[field]
    posted = await submit(auditor, "/log", {field: typed})
    assert posted.status_code == 422
    assert "location" not in posted.headers
    asked = await auditor.get("/log", params={field: typed})
    assert asked.status_code == 422
    assert words in posted.text
    assert words in asked.text
    assert typed not in asked.text
    # The form was opened, which is a search for everything; the two that were refused are no events.
    kept = await rows(database, "SELECT detail FROM audit_event ORDER BY id")
    assert [row["detail"] for row in kept[before:]] in ([], [{"found": min(before, 50)}])
    assert "uil" not in str(kept).lower()


async def test_a_search_that_finds_nothing_is_logged_too(auditor: httpx.AsyncClient, database: Database) -> None:
    assert (await auditor.get("/log", params={"referral": "00000000-0000-7000-8000-000000000000"})).status_code == 200
    [event] = await rows(database, "SELECT * FROM audit_event ORDER BY id DESC LIMIT 1")
    assert (event["action"], event["operation"], event["detail"]) == ("audit.searched", "consultation", {"found": 0})


@pytest.mark.parametrize("who", [",".join(["worker"] * 21), "worker," * 200])
async def test_an_address_asks_for_so_many_people_and_no_more(auditor: httpx.AsyncClient, who: str) -> None:
    assert (await auditor.get("/log", params={"who": "worker,scheduler"})).status_code == 200
    assert (await auditor.get("/log", params={"who": who})).status_code in (400, 422)


async def test_what_the_log_knows_is_found_by_its_name_there(
    cast: Cast, auditor: httpx.AsyncClient, database: Database
) -> None:
    """A key's id, a part of the broker, an operator's command; a party's code, in any case, and the Commissioner's."""
    await submitted(await cast.play("SWP"))
    async with database.transaction(AS_OWNER) as connection:
        await record(connection, Actor("GAIN", "operator jo"), [Event(Operation.ALTERATION, "channel.set")])
    [key] = await rows(database, "SELECT actor FROM audit_event WHERE action = 'referral.accepted'")
    for field, typed, found in [
        ("who", key["actor"], "Referral accepted"), ("who", "worker", ""), ("who", "operator jo", "Channel set"),
        ("party", "swp", "Referral accepted"), ("party", "ico", ""),
    ]:  # fmt: skip
        answer = await submit(auditor, "/log", {field: typed})
        assert answer.status_code == 303, (field, typed)
        page = await auditor.get(answer.headers["location"])
        assert page.status_code == 200
        assert found in page.text


async def test_a_days_events_are_found_and_those_of_other_days_are_not(
    cast: Cast, auditor: httpx.AsyncClient, database: Database, configuration: Settings
) -> None:
    await submitted(await cast.play("SWP"))
    await sealed(database, configuration)
    [today] = await rows(database, "SELECT (now() AT TIME ZONE 'Europe/London')::date::text AS day")
    assert "Referral accepted" in (await auditor.get(f"/log?since={today['day']}&until={today['day']}")).text
    assert "No such event" in (await auditor.get("/log?until=2020-01-01")).text


async def test_an_entry_shows_that_it_is_proved_and_its_file_is_verified_anywhere(
    cast: Cast, auditor: httpx.AsyncClient, database: Database, configuration: Settings, tmp_path: Path
) -> None:
    await submitted(await cast.play("SWP"))
    key = await sealed(database, configuration)
    sequence = await sequence_of(database, "referral.accepted")
    page = await auditor.get(f"/log/{sequence}")
    assert "✓ Verified" in page.text
    file = tmp_path / "proof.jsonl"
    answer = await auditor.get(f"/log/{sequence}/proof")
    assert answer.headers["content-disposition"] == f'attachment; filename="gain-log-{sequence}.jsonl"'
    file.write_bytes(answer.content)
    assert verify_export(file, [key]).entries == 1
    file.write_bytes(answer.content.replace(b"referral.accepted", b"referral.rejected"))
    with pytest.raises(ExportRefused):
        verify_export(file, [key])


async def test_an_entry_that_its_owner_changed_is_shown_as_changed(
    cast: Cast, auditor: httpx.AsyncClient, database: Database, configuration: Settings
) -> None:
    await submitted(await cast.play("SWP"))
    await sealed(database, configuration)
    sequence = await sequence_of(database, "referral.accepted")
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE audit_event DISABLE TRIGGER USER"))
        await connection.execute(text("UPDATE audit_event SET party = 'EA' WHERE action = 'referral.accepted'"))
        await connection.execute(text("ALTER TABLE audit_event ENABLE TRIGGER USER"))
    page = await auditor.get(f"/log/{sequence}")
    assert "This is not the entry that was sealed" in page.text
    assert "✓" not in page.text


async def test_an_entry_newer_than_the_last_checkpoint_waits_for_the_next(
    cast: Cast, auditor: httpx.AsyncClient, database: Database
) -> None:
    await submitted(await cast.play("SWP"))
    await seal_all(database)
    sequence = await sequence_of(database, "referral.accepted")
    assert "the next checkpoint will cover it" in (await auditor.get(f"/log/{sequence}")).text
    assert (await auditor.get(f"/log/{sequence}/proof")).status_code == 503


@pytest.mark.parametrize(
    ("party", "role"),
    [("SWP", Role.ORIGINATOR), ("TARIAN", Role.COORDINATOR), ("HMRC", Role.AGENCY), ("GAIN", Role.ADMINISTRATOR)],
)
async def test_nobody_but_an_auditor_sees_the_log(cast: Cast, party: str, role: Role) -> None:
    browser = await signed_in(cast, party, role)
    for path in ("/log", "/log/0", "/log/0/proof"):
        assert (await browser.get(path)).status_code == 403, path


async def test_what_is_not_sealed_yet_has_no_page(auditor: httpx.AsyncClient) -> None:
    assert (await auditor.get("/log/999999")).status_code == 404


async def test_a_search_goes_on_where_it_stopped_and_misses_nothing(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    made: list[Document] = [await submitted(force) for _ in range(7)]
    seen: list[str] = []
    before = None
    async with database.transaction(AS_WORKER) as connection:
        while True:
            found = await search(connection, Sought(party="SWP"), before, limit=3)
            seen += [str(row.referral_id) for row in found.events if row.action == "referral.accepted"]
            before = found.before
            if before is None:
                break
    assert seen == [one["id"] for one in reversed(made)]
