"""People sign in, through HTTP with the database: password, code, recovery code, and who is locked out."""

import asyncio
import re

from argon2 import PasswordHasher

from app.access.accounts import lockout
from app.access.accounts.lockout import Attempt
from app.crypto.keys import Keys
from app.db import AS_GATEWAY, Database
from app.settings import Settings
from tests.acts import change, rows
from tests.app.people import (
    PASSWORD,
    administered,
    failed,
    invited,
    logged,
    rewind,
    set_up,
    sign_in,
    signed_in,
)
from tests.browser import ORIGIN, send, submit
from tests.conftest import SECRET, Cast, gateway

WRONG = "The user name or the password is not right."


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
