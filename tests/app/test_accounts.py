"""Accounts, through HTTP with the database: set up, changed by whose they are, removed; and each refused."""

import re

import pytest

from app.access.accounts import codes
from app.access.policy import Role
from app.db import Database
from tests.acts import change, rows
from tests.app.people import (
    PASSWORD,
    Someone,
    administered,
    invited,
    logged,
    rewind,
    set_up,
    sign_in,
    signed_in,
)
from tests.browser import ORIGIN, forms, send, submit
from tests.conftest import Cast

WRONG = "The user name or the password is not right."


async def test_somebody_sets_their_account_up_with_a_code_and_signs_in(cast: Cast, database: Database) -> None:
    invitation = await invited(database, "TARIAN", "ceri@tarian.example", name="Ceri Example")
    browser = cast.client(ORIGIN)
    someone = await set_up(browser, invitation)
    assert len(set(someone.recovery_codes)) == 10
    assert (await browser.get("/")).status_code == 200  # the set-up ends signed in

    other = cast.client(ORIGIN)
    answer = await sign_in(other, someone)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = (await other.get("/")).text
    assert "What needs you now" in page
    assert "Ceri Example, TARIAN, co-ordinator" in page
    actors = await rows(database, "SELECT DISTINCT actor, party FROM audit_event WHERE action = 'status_page.read'")
    assert actors == [{"actor": str(invitation.id), "party": "TARIAN"}]
    opened = await rows(database, "SELECT detail FROM audit_event WHERE action = 'session.opened' ORDER BY id")
    assert [row["detail"] for row in opened] == [
        {"role": "coordinator", "by": "set-up"},
        {"role": "coordinator", "by": "password"},
    ]
    assert await logged(database) == [
        "account.added",
        "account.set_up",
        "account.authenticator_enrolled",
        "account.recovery_codes_renewed",
        "session.opened",
        "session.opened",
    ]


async def test_nothing_of_what_opens_an_account_lies_open(slow_hashes: Cast, database: Database) -> None:
    _, someone = await signed_in(slow_hashes, database)
    tables = ("account", "recovery_code", "sign_in_step", "sign_in_failure", "session", "audit_event")
    stored = ""
    for table in tables:
        found = await rows(database, f"SELECT CAST({table} AS text) AS whole FROM {table}")  # noqa: S608
        stored += "".join(row["whole"] for row in found)
    for secret in (someone.password, someone.secret.decode(), *someone.recovery_codes):
        assert secret not in stored
        assert secret.encode().hex() not in stored
        assert codes.typed(secret) not in stored
    log = await rows(database, "SELECT CAST(audit_event AS text) AS whole FROM audit_event")
    assert not any(word in row["whole"] for row in log for word in ("ceri", "Ceri"))
    [row] = await rows(database, "SELECT password FROM account")
    assert row["password"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize(
    ("username", "code"),
    [("ceri@tarian.example", "0000-0000-0000-0000"), ("nobody@tarian.example", None), ("ceri@tarian.example", "")],
)
async def test_an_account_is_not_set_up_with_another_code_or_name(
    cast: Cast, database: Database, username: str, code: str | None
) -> None:
    invitation = await invited(database, "TARIAN", "ceri@tarian.example")
    fields = {"username": username, "code": invitation.code if code is None else code}
    answer = await submit(cast.client(ORIGIN), "/sign-in/set-up", fields)
    assert answer.status_code == 401
    assert "The user name or the code is not right" in answer.text
    assert invitation.code not in answer.text
    assert (await logged(database))[-1] == "session.refused"


async def test_a_set_up_code_is_good_once_and_for_three_days(cast: Cast, database: Database) -> None:
    late = await invited(database, "TARIAN", "late@tarian.example")
    await change(database, "UPDATE account SET setup_until = setup_until - interval '72 hours'")
    fields = {"username": late.username, "code": late.code}
    assert (await submit(cast.client(ORIGIN), "/sign-in/set-up", fields)).status_code == 401
    used = await invited(database, "TARIAN", "used@tarian.example")
    await set_up(cast.client(ORIGIN), used)
    fields = {"username": used.username, "code": used.code}
    assert (await submit(cast.client(ORIGIN), "/sign-in/set-up", fields)).status_code == 401


async def test_a_set_up_that_was_begun_ends_when_the_account_is_reset(cast: Cast, database: Database) -> None:
    invitation = await invited(database, "TARIAN", "ceri@tarian.example")
    browser = cast.client(ORIGIN)
    await submit(browser, "/sign-in/set-up", {"username": invitation.username, "code": invitation.code})
    page = await browser.get("/sign-in/set-up/password")
    async with administered(database) as (registrar, connection):
        await registrar.reset(connection, invitation.username)
    answer = await send(browser, page, "/sign-in/set-up/password", {"password": PASSWORD, "again": PASSWORD})
    assert answer.headers["location"] == "/sign-in/set-up"
    assert (await browser.get("/sign-in/set-up/authenticator")).headers["location"] == "/sign-in/set-up"


@pytest.mark.parametrize(
    ("password", "again", "told"),
    [
        ("short-one-1", "short-one-1", "Use at least 12 characters"),
        ("password1234", "password1234", "among the first that are guessed"),
        ("ceri.tarian.ceri", "ceri.tarian.ceri", "among the first that are guessed"),
        ("x" * 129, "x" * 129, "Use at most 128 characters"),
        (PASSWORD, PASSWORD + ".", "The two passwords are not the same"),
    ],
)
async def test_a_poor_password_is_refused_with_advice(
    cast: Cast, database: Database, password: str, again: str, told: str
) -> None:
    invitation = await invited(database, "TARIAN", "ceri.tarian@tarian.example", name="Ceri Tarian")
    browser = cast.client(ORIGIN)
    await submit(browser, "/sign-in/set-up", {"username": invitation.username, "code": invitation.code})
    answer = await submit(browser, "/sign-in/set-up/password", {"password": password, "again": again})
    assert answer.status_code == 422
    assert told in answer.text
    assert password not in answer.text


async def test_a_wrong_first_code_shows_the_same_secret_again(cast: Cast, database: Database) -> None:
    invitation = await invited(database, "TARIAN", "ceri@tarian.example")
    browser = cast.client(ORIGIN)
    await submit(browser, "/sign-in/set-up", {"username": invitation.username, "code": invitation.code})
    await submit(browser, "/sign-in/set-up/password", {"password": PASSWORD, "again": PASSWORD})
    page = await browser.get("/sign-in/set-up/authenticator")
    assert "<svg" in page.text
    assert not re.search(r"<style|\sstyle=|<script>", page.text)
    answer = await send(browser, page, "/sign-in/set-up/authenticator", {"code": "000000"})
    assert answer.status_code == 422
    secret = re.compile(r'id="secret">([A-Z2-7]+)<')
    assert secret.findall(answer.text) == secret.findall(page.text)
    [row] = await rows(database, "SELECT state, password FROM account")
    assert row == {"state": "invited", "password": None}


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/set-up"])
async def test_nul_in_a_form_is_refused_before_it_reaches_the_database(cast: Cast, path: str) -> None:
    browser = cast.client(ORIGIN)
    answer = await submit(browser, path, {"username": "ceri\0@tarian.example"})
    assert answer.status_code == 400
    page = await browser.get(path)
    token = forms(page)[0].fields["csrf"]
    # By a script: its token is in a header, and the form is looked at all the same.
    answer = await browser.post(path, data={"username": "a\0"}, headers={"X-CSRF-Token": token})
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/search?reference=%00", "/queues/HMRC/chase?region=TARIAN%00", "/queues/%00"])
async def test_nul_in_the_address_of_a_page_is_refused(cast: Cast, database: Database, path: str) -> None:
    browser, _ = await signed_in(cast, database, "GAIN", Role.NATIONAL, username="ceri@gain.example")
    assert (await browser.get(path)).status_code == (404 if path.endswith("/%00") else 400)


async def test_nul_in_a_search_of_the_log_is_refused(cast: Cast, database: Database) -> None:
    browser, _ = await signed_in(cast, database, "GAIN", Role.AUDITOR, username="ceri@gain.example")
    for name in ("who", "party"):
        assert (await browser.get(f"/log?{name}=a%00")).status_code == 400


async def test_a_change_of_password_asks_for_the_old_one_and_ends_other_sessions(
    cast: Cast, database: Database
) -> None:
    browser, someone = await signed_in(cast, database)
    other = cast.client(ORIGIN)
    await sign_in(other, someone)
    fresh = {"password": "plum-otter-teapot", "again": "plum-otter-teapot"}
    wrong = await submit(browser, "/account/password", {"current": "not-the-one-at-all", **fresh})
    assert wrong.status_code == 422
    assert "This is not your password." in wrong.text
    poor = await submit(
        browser, "/account/password", {"current": PASSWORD, "password": "password1234", "again": "password1234"}
    )
    assert poor.status_code == 422
    done = await submit(browser, "/account/password", {"current": PASSWORD, **fresh})
    assert done.headers["location"] == "/account"
    assert (await other.get("/")).headers["location"] == "/sign-in"
    assert (await browser.get("/")).status_code == 200
    await rewind(database, someone)
    assert WRONG in (await sign_in(cast.client(ORIGIN), someone)).text
    assert (await sign_in(cast.client(ORIGIN), someone, password="plum-otter-teapot")).status_code == 303
    assert "account.password_changed" in await logged(database)


async def test_new_recovery_codes_replace_the_old(cast: Cast, database: Database) -> None:
    browser, someone = await signed_in(cast, database)
    page = await submit(browser, "/account/recovery-codes")
    fresh = re.findall(r"<li><code>([0-9A-Z-]{14})</code></li>", page.text)
    assert len(fresh) == 10
    assert not set(fresh) & set(someone.recovery_codes)
    assert (await sign_in(cast.client(ORIGIN), someone, code=someone.recovery_codes[0])).status_code == 401
    assert (await sign_in(cast.client(ORIGIN), someone, code=fresh[0])).status_code == 303


async def test_another_authenticator_replaces_the_one_before(cast: Cast, database: Database) -> None:
    browser, someone = await signed_in(cast, database)
    page = await browser.get("/account/authenticator")
    [found] = re.findall(r'id="secret">([A-Z2-7]+)<', page.text)
    other = Someone(someone.username, someone.id, someone.password, found.encode())
    wrong = await send(browser, page, "/account/authenticator", {"code": someone.code(1)})
    assert wrong.status_code == 422
    answer = await send(browser, page, "/account/authenticator", {"code": other.code()})
    assert answer.headers["location"] == "/account"
    assert (await sign_in(cast.client(ORIGIN), someone)).status_code == 401
    assert (await sign_in(cast.client(ORIGIN), other)).status_code == 303


async def test_somebody_removed_is_gone_and_still_named(cast: Cast, database: Database) -> None:
    from app.access.accounts.register import names_of
    from app.db import AS_AUDITOR

    browser, someone = await signed_in(cast, database)
    async with administered(database) as (registrar, connection):
        assert await registrar.remove(connection, someone.username)
        assert not await registrar.remove(connection, someone.username)
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    async with database.transaction(AS_AUDITOR) as connection:
        assert await names_of(connection, [someone.id, "worker", "0123456789ab"]) == {someone.id: "Ceri Example"}
    await invited(database, "TARIAN", someone.username)  # the user name is free again
