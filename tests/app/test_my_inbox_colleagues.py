"""Handing an item over to a colleague, and each one's own list."""

import re

from app.db import Database
from tests.acts import actions, change, dispatched, rows
from tests.app.people import signed_in as person_signed_in
from tests.app.web_inbox import ids, listed, sent
from tests.conftest import Cast, Workers


async def test_an_item_is_handed_over_and_each_sees_their_own(cast: Cast, workers: Workers, database: Database) -> None:
    _, made = await dispatched(cast, workers, "HMRC", count=2)
    items = await ids(database)
    first, second = (one["reference"] for one in made)
    dana, _ = await person_signed_in(cast, database, "HMRC", username="dana@hmrc.example")
    bob, someone = await person_signed_in(cast, database, "HMRC", username="bob@hmrc.example")
    _, stranger = await person_signed_in(cast, database, "EA", username="eve@ea.example")

    page = (await dana.get(f"/my-inbox/{items[first]}")).text
    assert "Nobody in particular has this item." in page
    choices = re.findall(r'<option value="([0-9a-f-]{36})"', page)
    assert someone.id in choices
    assert stranger.id not in choices
    for _ in range(2):  # repeating changes nothing
        given = await dana.post(f"/my-inbox/{items[first]}/colleague", data={"colleague": someone.id})
        assert (given.status_code, given.headers["location"]) == (303, f"/my-inbox/{items[first]}#colleague")
    assert await listed(bob, whose="mine") == [first]
    assert await listed(dana, whose="mine") == []
    assert await listed(dana) == [first, second]
    assert (await actions(database)).count("dispatch.assigned") == 1
    [event] = await rows(database, "SELECT detail FROM audit_event WHERE action = 'dispatch.assigned'")
    assert event["detail"] == {"to": someone.id}  # no name in the log

    # It keeps nobody else from it.
    assert (await dana.post(f"/my-inbox/{items[first]}/acknowledgement")).status_code == 303
    assert (await sent(bob, items[first], {"outcome": "no_hit"})).status_code == 303
    assert await listed(bob, whose="mine") == []
    assert await listed(bob, whose="mine", show="answered") == [first]


async def test_nobody_of_another_agency_or_without_an_account_is_given_an_item(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, [made] = await dispatched(cast, workers, "HMRC")
    id = (await ids(database))[made["reference"]]
    dana, own = await person_signed_in(cast, database, "HMRC", username="dana@hmrc.example")
    bob, gone = await person_signed_in(cast, database, "HMRC", username="bob@hmrc.example")
    _, stranger = await person_signed_in(cast, database, "EA", username="eve@ea.example")
    await change(database, "UPDATE account SET state = 'locked' WHERE username = :name", name=gone.username)
    for account in (stranger.id, gone.id, "nobody"):
        refused = await dana.post(f"/my-inbox/{id}/colleague", data={"colleague": account})
        assert refused.status_code == 409
        assert "It was not handed over" in refused.text
    assert (await bob.get("/my-inbox")).status_code == 303  # locked: signed out
    await dana.post(f"/my-inbox/{id}/colleague", data={"colleague": own.id})
    await dana.post(f"/my-inbox/{id}/colleague", data={"colleague": ""})
    assert await rows(database, "SELECT 1 FROM assignment") == []
