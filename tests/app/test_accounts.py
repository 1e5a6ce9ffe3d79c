"""People sign in, through HTTP with the database: setting up, password, code, roles, sessions; and each refused."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from argon2 import PasswordHasher

from app.access.accounts import codes, lockout
from app.access.accounts.lockout import Attempt
from app.access.policy import Role
from app.crypto.keys import Keys
from app.db import AS_GATEWAY, Database
from app.settings import Settings
from tests.acts import change, rows
from tests.app.people import (
    PASSWORD,
    Someone,
    administered,
    invited,
    rewind,
    set_up,
    sign_in,
    signed_in,
)
from tests.browser import ORIGIN, forms, send, submit
from tests.conftest import SECRET, Cast, gateway

WRONG = "The user name or the password is not right."


async def logged(database: Database, like: str = "^(session|account)") -> list[str]:
    """What the log says of people, in order."""
    found = await rows(database, "SELECT action FROM audit_event WHERE action ~ :like ORDER BY id", like=like)
    return [row["action"] for row in found]


async def failed(browser: httpx.AsyncClient, username: str, times: int) -> Sequence[httpx.Response]:
    """So many attempts with a wrong password."""
    fields = {"username": username, "password": "wrong-wrong-wrong"}
    return [await submit(browser, "/sign-in", fields) for _ in range(times)]


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


@pytest.fixture
async def slow_hashes(configuration: Settings, database: Database) -> AsyncIterator[Cast]:
    """The cast, before a gateway that hashes passwords as the program does."""
    async with gateway(configuration, database, hasher=None) as played:
        yield played


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


async def test_a_wrong_password_an_unknown_name_and_a_locked_account_are_told_the_same(
    cast: Cast, database: Database
) -> None:
    _, someone = await signed_in(cast, database)
    await invited(database, "TARIAN", "invited@tarian.example")
    _, locked = await signed_in(cast, database, username="locked@tarian.example")
    async with administered(database) as (registrar, connection):
        assert await registrar.lock(connection, locked.username)
    told = set()
    for username, password in (
        (someone.username, "wrong-wrong-wrong"),
        ("nobody@tarian.example", PASSWORD),
        ("invited@tarian.example", PASSWORD),
        (locked.username, locked.password),
        ("", ""),
    ):
        fields = {"username": username, "password": password}
        answer = await submit(cast.client(ORIGIN), "/sign-in", fields)
        assert answer.status_code == 401
        assert WRONG in answer.text
        told.add(re.sub(r'<input type="hidden" name="csrf"[^>]*>| (value|nonce)="[^"]*"', "", answer.text))
    assert len(told) == 1
    refused = await rows(database, "SELECT party FROM audit_event WHERE action = 'session.refused' ORDER BY id")
    assert [row["party"] for row in refused] == ["TARIAN", "unknown", "TARIAN", "TARIAN", "unknown"]


async def test_five_failures_lock_a_name_out_whether_or_not_anybody_has_it(cast: Cast, database: Database) -> None:
    _, someone = await signed_in(cast, database)
    for username in (someone.username, "nobody@tarian.example"):
        answers = await failed(cast.client(ORIGIN), username, 6)
        assert [answer.status_code for answer in answers] == [401] * 5 + [429]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60
        assert "Too many attempts have failed. Try again in 1 minute." in answers[-1].text
    assert (await logged(database)).count("session.locked_out") == 2
    # The right password does not help before the time is over; then it does, and the next failure waits longer.
    answer = await sign_in(cast.client(ORIGIN), someone)
    assert answer.status_code == 429
    await change(database, "UPDATE sign_in_failure SET locked_until = now()")
    waits = int((await failed(cast.client(ORIGIN), someone.username, 2))[-1].headers["retry-after"])
    assert 60 < waits <= 120
    await change(database, "UPDATE sign_in_failure SET locked_until = now()")
    await rewind(database, someone)
    assert (await sign_in(cast.client(ORIGIN), someone)).status_code == 303
    assert [answer.status_code for answer in await failed(cast.client(ORIGIN), someone.username, 2)] == [401, 401]


async def test_a_stranger_elsewhere_does_not_keep_somebody_out(configuration: Settings, database: Database) -> None:
    async with gateway(configuration, database, client="192.0.2.7") as cast:
        _, someone = await signed_in(cast, database)
    async with gateway(configuration, database, client="192.0.2.8") as cast:
        assert (await failed(cast.client(ORIGIN), someone.username, 6))[-1].status_code == 429
    async with gateway(configuration, database, client="192.0.2.7") as cast:
        await rewind(database, someone)
        assert (await sign_in(cast.client(ORIGIN), someone)).status_code == 303
    async with gateway(configuration, database, client="192.0.2.8") as cast:
        assert (await failed(cast.client(ORIGIN), someone.username, 1))[0].status_code == 429, "it stays out"
    async with administered(database) as (registrar, connection):
        assert await registrar.unlock(connection, someone.username)
    async with gateway(configuration, database, client="192.0.2.8") as cast:
        assert (await failed(cast.client(ORIGIN), someone.username, 1))[0].status_code == 401


async def test_all_addresses_of_a_64_are_locked_out_like_one(configuration: Settings, database: Database) -> None:
    async def tries(client: str) -> int:
        async with gateway(configuration, database, client=client) as cast:
            return (await failed(cast.client(ORIGIN), "a@b.example", 1))[0].status_code

    assert [await tries(f"2001:db8:0:7::{number}") for number in range(1, 7)] == [401] * 5 + [429]
    assert await tries("2001:db8:0:7:ffff:ffff:ffff:ffff") == 429
    assert await tries("2001:db8:0:8::1") == 401


async def test_from_many_addresses_a_name_is_locked_out_for_all_after_fifty_failures(
    cast: Cast, database: Database
) -> None:
    keys = Keys(SECRET.encode())
    async with database.transaction(AS_GATEWAY) as connection:
        tries = [await lockout.begin(connection, keys, Attempt("a@b.example", f"192.0.2.{n}")) for n in range(51)]
    assert tries[:49] == [(0.0, False)] * 49
    assert tries[49] == (0.0, True)
    assert tries[50][0] > 0
    assert [answer.status_code for answer in await failed(cast.client(ORIGIN), "a@b.example", 1)] == [429]


async def test_many_attempts_at_once_are_counted_like_one_after_another(cast: Cast, database: Database) -> None:
    _, someone = await signed_in(cast, database)
    browser = cast.client(ORIGIN)
    page = await browser.get("/sign-in")
    fields = {"username": someone.username, "password": "wrong-wrong-wrong"}
    answers = await asyncio.gather(*(send(browser, page, "/sign-in", fields) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 7


async def test_an_address_is_locked_out_after_twenty_names(configuration: Settings, database: Database) -> None:
    async with gateway(configuration, database, client="192.0.2.7") as cast:
        browser = cast.client(ORIGIN)
        answers = [(await failed(browser, f"name{number}@tarian.example", 1))[0] for number in range(21)]
    assert [answer.status_code for answer in answers] == [401] * 20 + [429]
    async with gateway(configuration, database, client="192.0.2.8") as cast:
        assert [answer.status_code for answer in await failed(cast.client(ORIGIN), "a@b.example", 1)] == [401]


async def test_an_administrator_unlocks_and_resets(cast: Cast, database: Database) -> None:
    browser, someone = await signed_in(cast, database)
    await failed(cast.client(ORIGIN), someone.username, 6)
    async with administered(database) as (registrar, connection):
        assert await registrar.unlock(connection, someone.username)
    await rewind(database, someone)
    assert (await sign_in(cast.client(ORIGIN), someone)).status_code == 303
    async with administered(database) as (registrar, connection):
        anew = await registrar.reset(connection, someone.username.upper())
        assert await registrar.reset(connection, "nobody@tarian.example") is None
    assert anew is not None
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    assert WRONG in (await sign_in(cast.client(ORIGIN), someone)).text
    again = await set_up(cast.client(ORIGIN), anew, "another-otter-battery")
    assert again.id == someone.id


async def test_a_code_of_the_authenticator_is_taken_once(cast: Cast, database: Database) -> None:
    _, someone = await signed_in(cast, database)
    code = someone.code(1)
    assert (await sign_in(cast.client(ORIGIN), someone, code=code)).status_code == 303
    for used in (code, someone.code(), "12345", "not a code", ""):
        answer = await sign_in(cast.client(ORIGIN), someone, code=used)
        assert answer.status_code == 401
        assert "This code is not right, or it was used before" in answer.text
    [row] = await rows(database, "SELECT totp_step FROM account")
    assert row["totp_step"] > 0


async def test_of_two_that_show_the_same_code_at_once_one_gets_in(cast: Cast, database: Database) -> None:
    _, someone = await signed_in(cast, database)
    await rewind(database, someone)
    browsers, pages = [cast.client(ORIGIN) for _ in range(2)], []
    for browser in browsers:
        await submit(browser, "/sign-in", {"username": someone.username, "password": someone.password})
        pages.append(await browser.get("/sign-in/code"))
    code = someone.code()
    answers = await asyncio.gather(
        *(send(one, page, "/sign-in/code", {"code": code}) for one, page in zip(browsers, pages, strict=True))
    )
    assert sorted(answer.status_code for answer in answers) == [303, 401]


async def test_a_recovery_code_stands_in_once(cast: Cast, database: Database) -> None:
    _, someone = await signed_in(cast, database)
    code = someone.recovery_codes[3].lower().replace("-", " ")
    assert (await sign_in(cast.client(ORIGIN), someone, code=code)).status_code == 303
    assert (await sign_in(cast.client(ORIGIN), someone, code=code)).status_code == 401
    assert (await sign_in(cast.client(ORIGIN), someone, code=someone.recovery_codes[4])).status_code == 303
    used = await rows(database, "SELECT detail FROM audit_event WHERE action = 'account.recovery_code_used'")
    assert [row["detail"] for row in used] == [{"left": 9}, {"left": 8}]


async def test_the_code_is_asked_of_the_browser_that_knew_the_password(cast: Cast, database: Database) -> None:
    _, someone = await signed_in(cast, database)
    browser = cast.client(ORIGIN)
    assert (await browser.get("/sign-in/code")).headers["location"] == "/sign-in"
    await submit(browser, "/sign-in", {"username": someone.username, "password": someone.password})
    page = await browser.get("/sign-in/code")
    assert page.status_code == 200
    await change(database, "UPDATE sign_in_step SET expires_at = now()")
    answer = await send(browser, page, "/sign-in/code", {"code": someone.code(1)})
    assert answer.headers["location"] == "/sign-in"


async def test_a_password_hashed_with_other_parameters_is_hashed_anew(slow_hashes: Cast, database: Database) -> None:
    _, someone = await signed_in(slow_hashes, database)
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(someone.password)
    await change(database, "UPDATE account SET password = :weak", weak=weak)
    assert (await sign_in(slow_hashes.client(ORIGIN), someone)).status_code == 303
    [row] = await rows(database, "SELECT password FROM account")
    assert row["password"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_whoever_has_several_roles_acts_in_one_and_can_change_it(cast: Cast, database: Database) -> None:
    browser = cast.client(ORIGIN)
    someone = await set_up(browser, await invited(database, "TARIAN", "a@t.example", Role.COORDINATOR, Role.ORIGINATOR))
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    refused = await submit(browser, "/sign-in/role", {"role": "auditor"})
    assert refused.status_code == 422
    answer = await submit(browser, "/sign-in/role", {"role": "originator"})
    assert answer.headers["location"] == "/my-referrals"
    assert (await browser.get("/")).headers["location"] == "/my-referrals"
    answer = await submit(browser, "/account", {"role": "coordinator"}, action="/account/role")
    assert answer.headers["location"] == "/"
    assert (await browser.get("/")).status_code == 200
    answer = await submit(browser, "/account", {"role": "national"}, action="/account/role")
    assert answer.headers["location"] == "/account"
    assert (await browser.get("/")).status_code == 200
    # A role that is taken away ends the sessions in it.
    await change(database, "UPDATE account SET roles = '{originator}'")
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    assert someone.username == "a@t.example"


@pytest.mark.parametrize(
    "over",
    [
        "UPDATE session SET expires_at = now()",
        "UPDATE session SET seen_at = now() - interval '30 minutes'",
        "UPDATE account SET state = 'locked'",
        "DELETE FROM session",
    ],
)
async def test_a_session_ends(cast: Cast, database: Database, over: str) -> None:
    browser, _ = await signed_in(cast, database)
    assert (await browser.get("/")).status_code == 200
    await change(database, over)
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    assert (await browser.get("/live")).headers["location"] == "/sign-in"


async def test_using_a_page_keeps_the_session_alive_and_its_stream_alone_does_not(
    cast: Cast, database: Database
) -> None:
    browser, _ = await signed_in(cast, database)
    await change(database, "UPDATE session SET seen_at = now() - interval '29 minutes'")
    assert (await browser.get("/account")).status_code == 200
    [row] = await rows(database, "SELECT now() - seen_at < interval '1 minute' AS noted FROM session")
    assert row["noted"]
    [session] = await rows(database, "SELECT expires_at - created_at AS lasts FROM session")
    assert session["lasts"].total_seconds() == 12 * 3600


async def test_the_session_cookie_is_the_hosts_alone_over_https(configuration: Settings, database: Database) -> None:
    async with gateway(configuration, database, public_url="https://gain.test") as cast:
        browser = cast.client({"Origin": "https://gain.test"})
        browser.base_url = httpx.URL("https://gain.test")
        answer = await submit(browser, "/sign-in/key", {"key": await cast.key("TARIAN")})
        cookies = answer.headers.get_list("set-cookie")
    [session] = [cookie for cookie in cookies if cookie.startswith("__Host-gain=")]
    for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert word in session
    assert "Domain" not in session
    assert "Max-Age" not in session


async def test_signing_out_everywhere_ends_every_other_session(cast: Cast, database: Database) -> None:
    browser, someone = await signed_in(cast, database)
    other = cast.client(ORIGIN)
    assert (await sign_in(other, someone)).status_code == 303
    page = await browser.get("/account")
    assert page.text.count("(here)") == 1
    assert page.text.count('<tr class="govuk-table__row">') == 3
    answer = await send(browser, page, "/account", action="/account/sign-out-everywhere")
    assert answer.headers["location"] == "/account"
    assert (await other.get("/")).headers["location"] == "/sign-in"
    assert (await browser.get("/")).status_code == 200
    assert "session.closed_everywhere" in await logged(database)


async def test_signing_out_everywhere_ends_a_sign_in_that_waits_for_its_role(cast: Cast, database: Database) -> None:
    roles = (Role.COORDINATOR, Role.ORIGINATOR)
    browser, someone = await signed_in(cast, database, "TARIAN", *roles)
    other = cast.client(ORIGIN)
    answer = await sign_in(other, someone)
    assert answer.headers["location"] == "/sign-in/role"
    page = await other.get("/sign-in/role")
    assert (await browser.post("/account/sign-out-everywhere")).status_code == 303
    answer = await send(other, page, "/sign-in/role", {"role": "coordinator"})
    assert answer.headers["location"] == "/sign-in"
    assert (await other.get("/")).headers["location"] == "/sign-in"


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


@pytest.mark.parametrize("path", ["/account/password", "/account/recovery-codes", "/account/authenticator"])
async def test_what_needs_it_asks_again_who_one_is_and_leads_back(cast: Cast, database: Database, path: str) -> None:
    browser, someone = await signed_in(cast, database)
    page = await browser.get(path)
    assert page.status_code == 200  # just signed in
    await change(database, "UPDATE session SET confirmed_at = now() - interval '5 minutes'")
    asked = await browser.get(path)
    assert (asked.status_code, asked.headers["location"]) == (303, f"/account/confirm?then={path}")
    before = await rows(database, "SELECT password, totp FROM account")
    sent = await browser.post(path, data=forms(page)[0].fields, headers={"Referer": f"http://gain.test{path}"})
    assert sent.headers["location"] == f"/account/confirm?then={path}"
    assert await rows(database, "SELECT password, totp FROM account") == before
    wrong = await submit(browser, sent.headers["location"], {"code": "000000"})
    assert wrong.status_code == 422
    assert (await browser.get(path)).status_code == 303
    right = await submit(browser, sent.headers["location"], {"code": someone.code(1)})
    assert (right.status_code, right.headers["location"]) == (303, path)
    assert (await browser.get(path)).status_code == 200
    assert (await logged(database)).count("session.confirmed") == 1


@pytest.mark.parametrize("then", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere", "account", ""])
async def test_confirming_leads_nowhere_else(cast: Cast, database: Database, then: str) -> None:
    browser, someone = await signed_in(cast, database)
    page = await browser.get("/account/confirm", params={"then": then})
    assert "elsewhere" not in page.text
    answer = await browser.post("/account/confirm", params={"then": then}, data={"code": someone.code(1)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_whoever_signed_in_with_a_key_confirms_with_it(cast: Cast, database: Database) -> None:
    browser, key = cast.client(ORIGIN), await cast.key("TARIAN")
    await submit(browser, "/sign-in/key", {"key": key})
    other = await cast.key("TARIAN")
    assert (await submit(browser, "/account/confirm", {"key": other})).status_code == 422
    assert (await submit(browser, "/account/confirm", {"key": key})).headers["location"] == "/account"
    page = await browser.get("/account")
    assert "You signed in with an API key" in page.text
    assert (await browser.get("/account/password")).headers["location"] == "/account"


async def test_an_open_stream_ends_with_its_session(cast: Cast, database: Database, configuration: Settings) -> None:
    """tests/app/test_live.py follows a stream; here: what it asks about is a person's session too."""
    from app.access.sessions import Reader, change_role, in_force, session_id
    from app.crypto.keys import Keys
    from app.db import AS_GATEWAY
    from tests.conftest import SECRET

    browser, someone = await signed_in(cast, database, "TARIAN", Role.COORDINATOR, Role.ORIGINATOR)
    opened = Reader(session_id(Keys(SECRET.encode()), browser.cookies["gain"]), Role.COORDINATOR)

    async def goes_on() -> bool:
        async with database.transaction(AS_GATEWAY) as connection:
            return await in_force(connection, {opened}) == {opened}

    assert await goes_on()
    async with database.transaction(AS_GATEWAY) as connection:
        await change_role(connection, opened.session, Role.ORIGINATOR)
    assert not await goes_on(), "in another role it is another reader's"
    async with database.transaction(AS_GATEWAY) as connection:
        await change_role(connection, opened.session, Role.COORDINATOR)
    assert await goes_on()
    async with administered(database) as (registrar, connection):
        await registrar.lock(connection, someone.username)
    assert not await goes_on()


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
