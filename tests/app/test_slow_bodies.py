"""Whoever is let in no more while a body still comes is refused, and nothing of the body is kept or done."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from app.access import tokens
from app.access.keys import parse
from app.access.policy import Role
from app.db import Database
from app.errors import CREDENTIAL_REQUIRED
from app.referrals.batches import receive as receiving
from app.web import routing
from tests.acts import change, eventually, rows, slug
from tests.app.batch_files import NDJSON, PATH, lines, sheet
from tests.app.people import sign_in, signed_in
from tests.browser import ORIGIN, carry_token, forms
from tests.conftest import Cast, Workers, referral

UPLOAD = "/my-referrals/upload"
Meanwhile = Callable[[], Awaitable[None]]


@pytest.fixture(autouse=True)
def _looked_at_with_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "_LOOK_SECONDS", 0.0)


async def slowly(first: bytes, meanwhile: Meanwhile, rest: bytes) -> AsyncIterator[bytes]:
    """A body whose rest comes after something else has happened."""
    yield first
    await meanwhile()
    yield rest


async def some_is_stored(database: Database) -> None:
    await eventually(lambda: rows(database, "SELECT 1 FROM batch_row LIMIT 1"))


async def nothing_is_kept(database: Database, workers: Workers) -> None:
    await workers.run()
    for table in ("batch_row", "batch_error", "referral"):
        assert await rows(database, f"SELECT 1 FROM {table}") == [], table  # noqa: S608
    assert [row["state"] for row in await rows(database, "SELECT state FROM batch")] in ([], ["incomplete"])


class Force:
    """A force's key, perhaps with a token of it, and a client that comes with either."""

    def __init__(self, cast: Cast, key: str, token: str | None = None) -> None:
        self.cast = cast
        self.key = key
        self.token = token or ""
        self.client = cast.client({"Authorization": f"Bearer {token or key}"})

    async def until_refused(self) -> None:
        async def refused() -> bool:
            return (await self.client.get(PATH)).status_code == 401

        await eventually(refused)


async def with_key(cast: Cast) -> Force:
    return Force(cast, await cast.key("SWP"))


async def with_token(cast: Cast) -> Force:
    key = await cast.key("SWP")
    answer = await cast.client({}).post("/v1/token", data={"grant_type": "client_credentials", "client_secret": key})
    return Force(cast, key, answer.json()["access_token"])


async def key_revoked(force: Force) -> None:
    parsed = parse(force.key)
    assert parsed is not None
    administrator = await force.cast.play("GAIN", Role.ADMINISTRATOR)
    assert (await administrator.post(f"/v1/keys/{parsed[0]}/revocation")).status_code == 200
    await force.until_refused()


async def token_given_up(force: Force) -> None:
    answer = await force.cast.client({}).post("/v1/token/revoke", data={"token": force.token}, auth=("", force.key))
    assert answer.status_code == 200, answer.text
    await force.until_refused()


ENDS = pytest.mark.parametrize(
    ("credential", "end"),
    [(with_key, key_revoked), (with_token, key_revoked), (with_token, token_given_up)],
    ids=["a key", "the key of a token", "a token"],
)
Credential = Callable[[Cast], Awaitable[Force]]
End = Callable[[Force], Awaitable[None]]


@ENDS
async def test_an_upload_ends_with_the_credential_it_was_begun_with(
    cast: Cast, workers: Workers, database: Database, credential: Credential, end: End
) -> None:
    force = await credential(cast)

    async def meanwhile() -> None:
        await some_is_stored(database)
        await end(force)

    body = slowly(lines(receiving._STORE_ROWS), meanwhile, lines(3))
    answer = await force.client.post(PATH, content=body, headers={"Content-Type": NDJSON})
    assert (answer.status_code, slug(answer)) == (401, CREDENTIAL_REQUIRED.slug)
    await nothing_is_kept(database, workers)


@ENDS
async def test_a_referral_that_is_long_in_coming_is_not_taken_from_whoever_was_revoked(
    cast: Cast, workers: Workers, database: Database, credential: Credential, end: End
) -> None:
    force = await credential(cast)
    whole = json.dumps(referral()).encode()
    body = slowly(whole[:40], lambda: end(force), whole[40:])
    answer = await force.client.post("/v1/referrals", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, slug(answer)) == (401, CREDENTIAL_REQUIRED.slug)
    await nothing_is_kept(database, workers)


async def test_an_upload_may_take_longer_than_its_token_is_good_for(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    force = await with_token(cast)

    async def meanwhile() -> None:
        later = time.time() + tokens.LIFETIME_SECONDS + 1
        monkeypatch.setattr(time, "time", lambda: later)
        await force.until_refused()

    body = slowly(lines(2), meanwhile, lines(3)[len(lines(2)) :])
    answer = await force.client.post(PATH, content=body, headers={"Content-Type": NDJSON})
    assert (answer.status_code, answer.json()["total"]) == (202, 3)


async def uploaded_slowly(browser: httpx.AsyncClient, meanwhile: Meanwhile) -> httpx.Response:
    """Choose a file of many rows in the form, and send it: the last of it when something else has happened."""
    [form] = forms(await browser.get(UPLOAD))
    form.fields.pop("file")
    file = sheet(*({"client_reference": f"SWP/{number}"} for number in range(receiving._STORE_ROWS + 1)))
    request = browser.build_request("POST", UPLOAD, data=form.fields, files={"file": ("referrals.csv", file)})
    whole = request.read()
    headers = {"Content-Type": request.headers["content-type"]}
    return await browser.post(UPLOAD, content=slowly(whole[:-200], meanwhile, whole[-200:]), headers=headers)


@pytest.mark.parametrize(
    "over",
    [
        "DELETE FROM session",
        "UPDATE account SET state = 'locked'",
        "UPDATE account SET roles = '{coordinator}'",
        "UPDATE session SET role = 'coordinator'",
    ],
)
async def test_an_upload_from_the_browser_ends_with_its_session(
    cast: Cast, workers: Workers, database: Database, over: str
) -> None:
    browser, _ = await signed_in(cast, database, "TARIAN", Role.ORIGINATOR, Role.COORDINATOR)

    async def meanwhile() -> None:
        await some_is_stored(database)
        await change(database, over)

    answer = await uploaded_slowly(browser, meanwhile)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    await nothing_is_kept(database, workers)


async def test_an_upload_keeps_its_session_alive(cast: Cast, database: Database) -> None:
    browser, _ = await signed_in(cast, database, "SWP")

    async def meanwhile() -> None:
        await change(database, "UPDATE session SET seen_at = now() - interval '29 minutes'")

    answer = await uploaded_slowly(browser, meanwhile)
    assert answer.headers["location"].startswith("/my-referrals/uploads/")
    [session] = await rows(database, "SELECT now() - seen_at < interval '1 minute' AS noted FROM session")
    assert session["noted"]


async def test_a_form_that_is_long_in_coming_does_nothing_for_whoever_was_signed_out(
    cast: Cast, database: Database
) -> None:
    browser, someone = await signed_in(cast, database)
    other = cast.client(ORIGIN)
    await sign_in(other, someone)
    carry_token(other)

    async def meanwhile() -> None:
        assert (await other.post("/account/sign-out-everywhere")).status_code == 303

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = slowly(b"a=", meanwhile, b"b")
    answer = await browser.post("/account/sign-out-everywhere", content=body, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert (await other.get("/account")).status_code == 200
