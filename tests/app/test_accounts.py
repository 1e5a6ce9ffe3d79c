"""People sign in, through HTTP with the database: setting up, password, code, roles, sessions; and each refused."""

from app.db import Database
from tests.acts import rows
from tests.app.people import invited, set_up, sign_in
from tests.browser import ORIGIN
from tests.conftest import Cast


async def logged(database: Database, like: str = "^(session|account)") -> list[str]:
    """What the log says of people, in order."""
    found = await rows(database, "SELECT action FROM audit_event WHERE action ~ :like ORDER BY id", like=like)
    return [row["action"] for row in found]


async def test_somebody_sets_their_account_up_with_a_code_and_signs_in(cast: Cast, database: Database) -> None:
    invitation = await invited(database, "TARIAN", "ceri@tarian.example")
    browser = cast.client(ORIGIN)
    someone = await set_up(browser, invitation)
    assert len(someone.recovery_codes) == 10
    assert (await browser.get("/")).status_code == 200  # the set-up ends signed in

    other = cast.client(ORIGIN)
    answer = await sign_in(other, someone)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "What needs you now" in (await other.get("/")).text
    actors = await rows(database, "SELECT DISTINCT actor FROM audit_event WHERE action = 'session.opened'")
    assert actors == [{"actor": str(invitation.id)}]
    assert await logged(database) == [
        "account.added",
        "account.set_up",
        "account.authenticator_enrolled",
        "account.recovery_codes_renewed",
        "session.opened",
        "session.opened",
    ]
