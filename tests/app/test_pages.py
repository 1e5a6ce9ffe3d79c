"""The first page and the way to it, through HTTP with the database."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from app.access.attempts import Attempts
from app.access.forms import HEADER
from app.access.policy import Role
from app.db import Database
from app.referrals.heartbeat import Beating, beat
from app.settings import Settings
from app.web import content_security
from tests.browser import ORIGIN as OWN
from tests.browser import carry_token, forms, send, signed_in, submit
from tests.conftest import HIT, Cast, Workers, gateway, referral


async def submitted(cast: Cast, party: str, **changes: Any) -> str:
    """The reference of a referral just accepted."""
    answer = await (await cast.play(party)).post("/v1/referrals", json=referral(**changes))
    assert answer.status_code == 201, answer.text
    reference: str = answer.json()["reference"]
    return reference


async def logged(database: Database) -> Sequence[tuple[str, str]]:
    """Who did what, in order, of what concerns the pages."""
    async with database.transaction() as connection:
        rows = await connection.execute(
            text("SELECT action, party FROM audit_event WHERE action ~ '^(session|status_page)' ORDER BY id")
        )
        return [(row.action, row.party) for row in rows]


async def test_a_coordinator_signs_in_with_a_key_sees_the_page_and_signs_out(cast: Cast, database: Database) -> None:
    browser = cast.client(OWN)
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    form = await browser.get("/sign-in/key")
    assert 'type="password"' in form.text
    assert 'autocomplete="off"' in form.text

    answer = await send(browser, form, "/sign-in/key", {"key": f" {await cast.key('TARIAN')}\n"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie

    page = await browser.get("/")
    assert page.status_code == 200
    assert "What needs you now" in page.text
    [nonce] = set(re.findall(r'<script nonce="([^"]+)"', page.text))
    assert page.text.count("<script") == page.text.count(f'<script nonce="{nonce}"')
    assert page.headers["content-security-policy"] == content_security.of_page(nonce)
    assert nonce not in (await browser.get("/problems/")).text
    assert page.headers["cache-control"] == "no-store"
    assert not re.search(r"<script>|<style|\sstyle=|\son[a-z]+=|https?://", page.text)

    kept = dict(browser.cookies)
    assert (await browser.post("/sign-out")).status_code == 403  # without the form's token
    carry_token(browser)
    assert (await browser.post("/sign-out")).headers["location"] == "/sign-in"
    browser.cookies.update(kept)
    assert (await browser.get("/")).headers["location"] == "/sign-in"  # the session is over, not only forgotten
    assert await logged(database) == [
        ("session.opened", "TARIAN"),
        ("status_page.read", "TARIAN"),
        ("session.closed", "TARIAN"),
    ]


@pytest.mark.parametrize(
    "key", [" ", "gain_dev_wrong", "gain_dev_0123456789ab_0123456789abcdef0123456789abcdef_000000"]
)
async def test_a_wrong_key_gets_the_form_again_and_is_logged_without_the_key(
    cast: Cast, database: Database, key: str
) -> None:
    browser = cast.client(OWN)
    answer = await submit(browser, "/sign-in/key", {"key": key})
    assert answer.status_code == 401
    assert "This key is not known" in answer.text
    assert "set-cookie" not in answer.headers
    assert await logged(database) == [("session.refused", "unknown")]
    if key.strip():
        async with database.transaction() as connection:
            rows = await connection.scalars(text("SELECT CAST(audit_event AS text) FROM audit_event"))
            assert not any(key in row for row in rows)
        assert key not in answer.text


@pytest.mark.parametrize(("party", "home"), [("SWP", "/my-referrals"), ("HMRC", "/my-inbox")])
async def test_a_key_of_another_role_leads_to_the_first_page_of_that_role(cast: Cast, party: str, home: str) -> None:
    browser = cast.client(OWN)
    answer = await submit(browser, "/sign-in/key", {"key": await cast.key(party)})
    assert (answer.status_code, answer.headers["location"]) == (303, home)
    assert (await browser.get("/")).headers["location"] == home


async def test_where_keys_open_no_pages_there_is_no_form_for_them(configuration: Settings, database: Database) -> None:
    async with gateway(configuration, database, key_sign_in=False) as cast:
        browser = cast.client(OWN)
        assert (await browser.get("/sign-in/key")).status_code == 404
        page = await browser.get("/sign-in")
        assert "/sign-in/key" not in page.text
        assert (await send(browser, page, "/sign-in", {"username": ""})).status_code == 401
        token = forms(page)[0].fields["csrf"]
        answer = await browser.post("/sign-in", data={"csrf": token, "key": await cast.key("TARIAN")})
        assert answer.status_code == 404


async def test_keys_cannot_be_tried_out_at_speed(cast: Cast) -> None:
    browser = cast.client(OWN)
    answers = [await submit(browser, "/sign-in/key", {"key": "guess"}) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert (await submit(browser, "/sign-in/key", {"key": await cast.key("TARIAN")})).status_code == 429


def test_attempts_count_for_a_minute_and_for_one_address() -> None:
    now = 0.0
    attempts = Attempts(limit=2, seconds=60, clock=lambda: now)
    assert [attempts.wait(one) for one in ("192.0.2.7", "192.0.2.7", "192.0.2.8")] == [0, 0, 0]
    now = 20.0
    assert attempts.wait("192.0.2.7") == 40
    now = 61.0
    assert attempts.wait("192.0.2.7") == 0


def test_a_network_of_2_to_the_64_addresses_has_the_attempts_of_one() -> None:
    attempts = Attempts(limit=2, clock=lambda: 0.0)
    assert [attempts.wait(one) for one in ("2001:db8::1", "2001:db8::2", "2001:db8::3")] == [0, 0, 60]
    assert attempts.left("2001:db8::4") == 60
    assert attempts.left("2001:db8:0:1::1") == 0
    assert [attempts.wait(one) for one in ("", "nonsense", "10.4.0.1.example")] == [0, 0, 60]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.test"},
        {"Origin": "null"},
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://gain.test", "Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_form_on_another_site_can_neither_sign_in_nor_out(
    cast: Cast, database: Database, headers: dict[str, str]
) -> None:
    browser = await signed_in(cast, "TARIAN")
    cookies = dict(browser.cookies)
    elsewhere = cast.client(headers)
    elsewhere.cookies.update(cookies)
    elsewhere.headers[HEADER] = browser.headers[HEADER]
    for path in ("/sign-out", "/sign-in"):
        answer = await elsewhere.post(path, data={"key": await cast.key("GAIN", Role.NATIONAL)})
        assert answer.status_code == 403
        assert '<h1 class="govuk-heading-l">This did not come from one of our pages</h1>' in answer.text
    assert (await browser.get("/")).status_code == 200
    assert [action for action, _ in await logged(database)] == ["session.opened", "status_page.read"]


async def test_the_browsers_word_that_it_is_the_same_origin_is_enough(cast: Cast) -> None:
    browser = cast.client({"Sec-Fetch-Site": "same-origin", "Origin": "null"})
    assert (await submit(browser, "/sign-in/key", {"key": await cast.key("TARIAN")})).status_code == 303


async def test_a_form_without_its_token_or_with_anothers_changes_nothing(cast: Cast, database: Database) -> None:
    browser, stranger = await signed_in(cast, "TARIAN"), await signed_in(cast, "TITAN")
    theirs = stranger.headers[HEADER]
    del browser.headers[HEADER]
    for fields in ({}, {"csrf": ""}, {"csrf": "guess"}, {"csrf": theirs}, {"csrf": "\u2713"}):
        answer = await browser.post("/sign-out", data=fields)
        assert answer.status_code == 403
        assert "This did not come from one of our pages" in answer.text
    assert (await browser.get("/")).status_code == 200
    anonymous = cast.client(OWN)
    assert (await anonymous.post("/sign-in", data={"key": await cast.key("TARIAN")})).status_code == 403
    assert [action for action, _ in await logged(database)] == ["session.opened"] * 2 + ["status_page.read"]


async def test_a_form_with_a_file_is_not_read(cast: Cast) -> None:
    browser = await signed_in(cast, "TARIAN")
    del browser.headers[HEADER]
    answer = await browser.post("/sign-out", files={"file": ("quill.csv", b"personal")})
    assert answer.status_code == 400


def multipart(charset: str, fields: Mapping[str, bytes]) -> dict[str, Any]:
    """A form in this coding, as `post` takes it."""
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in fields.items()
    ]
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    return {"content": b"".join(parts) + b"--b--\r\n", "headers": {"Content-Type": kind}}


@pytest.mark.parametrize(
    ("charset", "value"),
    [
        ("undefined", b"x"),
        ("idna", b"xn--" + b"x" * 70),
        ("unicode_escape", b"\\ud800"),
        ("utf-7", b"+2AA-"),
        ("latin-1", b"x"),
    ],
)
async def test_a_form_in_another_coding_than_utf_8_is_refused(cast: Cast, charset: str, value: bytes) -> None:
    """Half a surrogate pair comes through some, which no digest and no column takes; others cannot be read at all."""
    stranger = cast.client({"Sec-Fetch-Site": "same-origin"})
    assert (await stranger.post("/sign-in", **multipart(charset, {"csrf": value}))).status_code == 400
    token = forms(await stranger.get("/sign-in"))[0].fields["csrf"].encode()
    for fields in ({"csrf": value}, {"csrf": token, "username": value}, {"csrf": token, value.decode(): b""}):
        assert (await stranger.post("/sign-in", **multipart(charset, fields))).status_code == 400
    browser = await signed_in(cast, "TARIAN")
    answer = await browser.post("/search", **multipart(charset, {"family_name": value}))
    assert answer.status_code == 400
    assert "The request cannot be read" in answer.text


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "utf8", '"utf-8"'])
async def test_a_form_that_says_it_is_utf_8_is_read(cast: Cast, charset: str) -> None:
    browser = cast.client(OWN)
    token = forms(await browser.get("/sign-in"))[0].fields["csrf"].encode()
    answer = await browser.post("/sign-in", **multipart(charset, {"csrf": token, "username": "ŵ".encode()}))
    assert answer.status_code == 401


async def test_a_coordinator_sees_its_region_and_the_national_one_everything(cast: Cast, workers: Workers) -> None:
    vehicle = {"kind": "vehicle", "identifiers": [{"type": "vehicle_registration", "value": "GM26 ABC"}]}
    welsh, english = await submitted(cast, "SWP"), await submitted(cast, "GMP", subject=vehicle)
    await workers.run()
    tarian = (await (await signed_in(cast, "TARIAN")).get("/")).text
    assert welsh in tarian
    assert english not in tarian
    national = (await (await signed_in(cast, "GAIN", Role.NATIONAL)).get("/")).text
    assert welsh in national
    assert english in national
    assert national.index(english) < national.index(welsh)  # newest first


async def test_the_page_shows_every_dispatch_with_its_state_and_why_but_nobodys_name(
    cast: Cast, workers: Workers
) -> None:
    await submitted(cast, "SWP")
    await workers.run()
    agency = await cast.play("HMRC")
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)).status_code == 201
    page = (await (await signed_in(cast, "TARIAN")).get("/")).text
    assert "2 asked: 1 answered (1 hit), 1 open" in page
    assert re.search(r"HMRC</abbr></th>\s*<td><span class=\"state answered\">Answered", page)
    assert re.search(r"EA</abbr></th>\s*<td><span class=\"state queued\">Queued", page)
    assert "Named by the originator" in page
    row = page[page.index('<tr id="queue-HMRC"') :]
    figures = re.findall(r'<td class="number[^"]*">(\d+)</td>', row)[:7]
    assert figures == [
        "0",
        "0",
        "0",
        "0",
        "0",
        "1",
        "0",
    ]  # held, queued, delivered, acknowledged, query, answered, overdue
    assert not any(word in page for word in ("Quill", "CX14 ABC", "Mynydd", "SWP/2026/991", "grey van"))


async def test_what_is_overdue_or_held_stands_before_everything_else(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await submitted(cast, "SWP", addressees=["EA", "SMARTWATER"])
    await workers.run()
    async with database.transaction() as connection:
        await connection.execute(
            text("""
                UPDATE dispatch SET due_at = now() - interval '50 hours', next_check_at = now() - interval '50 hours'
                 WHERE agency = 'EA'
            """)
        )
    page = (await (await signed_in(cast, "TARIAN")).get("/")).text
    above = page[: page.index("Queues</h2>")]
    assert "1 answer is overdue; the oldest was due 2 days ago." in above
    assert "1 item is held back from the agency until released." in above
    assert "No scheduler leads" in above  # true of this test: nothing beats
    assert "Nothing needs you now" not in page


async def test_while_all_is_well_the_page_says_so(cast: Cast, workers: Workers, database: Database) -> None:
    await submitted(cast, "SWP")
    await workers.run()
    async with database.transaction() as connection:
        await beat(connection, Beating.WORKER)
        await beat(connection, Beating.SCHEDULER)
        await beat(connection, Beating.SEALER)
    page = (await (await signed_in(cast, "TARIAN")).get("/")).text
    assert "Nothing needs you now" in page
    assert "Workers last finished work a few seconds ago." in page
    assert "Message broker answers." in page


async def test_the_referrals_are_paged_without_a_gap(cast: Cast, workers: Workers) -> None:
    client = await cast.play("SWP")
    sent = [(await client.post("/v1/referrals", json=referral())).json()["reference"] for _ in range(25)]
    await workers.run()
    browser = await signed_in(cast, "TARIAN")
    first = (await browser.get("/")).text
    following = re.search(r'href="(/\?cursor=[^"]+)" rel="next"', first)
    assert following
    second = (await browser.get(following[1])).text
    shown = [re.findall(r"<h3[^>]*><a[^>]*>(GAIN-[0-9-]+)", page) for page in (first, second)]
    assert shown[0] + shown[1] == sent[::-1]
    assert len(shown[0]) == 20
    assert 'rel="next"' not in second
    assert "Newest referrals" in second
    stranger = await signed_in(cast, "GAIN", Role.NATIONAL)
    refused = await stranger.get(following[1])
    assert refused.status_code == 400
    assert '<h1 class="govuk-heading-l">The cursor is not one of ours</h1>' in refused.text


async def test_a_revoked_key_ends_its_sessions(cast: Cast, database: Database) -> None:
    browser = await signed_in(cast, "TARIAN")
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE api_key SET revoked_at = now()"))
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    assert (await browser.get("/live")).headers["location"] == "/sign-in"


async def test_no_page_without_a_session_and_none_by_an_api_key(cast: Cast) -> None:
    for path in ("/", "/live"):
        for client in (cast.client({}), cast.client({"Cookie": "gain=made-up"}), await cast.play("TARIAN")):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
