"""The register of keys: what a key is limited to, how it is replaced, and that nobody but its issuer ever sees it."""

import asyncio
import secrets
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app import clock
from app.access.keys import Terms, issue, parse
from app.access.policy import Role
from app.access.uses import Uses
from app.crypto.keys import Keys
from app.db import AS_ADMINISTRATOR, Database
from app.settings import Settings
from tests.acts import actions, change, dispatched, eventually, rows, slug, submitted
from tests.browser import submit
from tests.conftest import Cast, Workers, gateway


@pytest.fixture
async def administrator(cast: Cast) -> httpx.AsyncClient:
    return await cast.play("GAIN", Role.ADMINISTRATOR)


def id_of(key: str) -> str:
    parsed = parse(key)
    assert parsed is not None
    return parsed[0]


async def issued(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/keys", json={"party": "HMRC", **body}, headers=headers)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/keys/{document['id']}"
    return document


async def status_of(cast: Cast, key: str) -> int:
    """What a poll of the inbox with this key is answered."""
    return (await cast.client({"Authorization": f"Bearer {key}"}).get("/v1/inbox")).status_code


async def test_an_administrator_issues_a_key_that_works_at_once(cast: Cast, administrator: httpx.AsyncClient) -> None:
    made = await issued(
        administrator, label="night shift", scope=["read"], networks=["127.0.0.0/8"], expires_in_days=90
    )
    assert made["role"] == "agency"
    assert made["scope"] == ["read_inbox", "read_policy"]
    assert made["networks"] == ["127.0.0.0/8"]
    assert id_of(made["key"]) == made["id"]
    assert await status_of(cast, made["key"]) == 200
    shown = (await administrator.get(f"/v1/keys/{made['id']}")).json()
    assert shown == {name: value for name, value in made.items() if name != "key"}
    days = (clock.now() + timedelta(days=90)).date().isoformat()
    assert shown["expires_at"][:10] == days


async def test_nobody_but_its_issuer_ever_sees_a_key(
    cast: Cast, administrator: httpx.AsyncClient, database: Database
) -> None:
    made = await issued(administrator)
    secret = parse(made["key"])[1]  # type: ignore[index]
    assert secret not in (await administrator.get("/v1/keys")).text
    assert secret not in (await administrator.get(f"/v1/keys/{made['id']}")).text
    assert secret not in str(await rows(database, "SELECT * FROM api_key"))
    assert secret not in str(await rows(database, "SELECT * FROM audit_event"))


async def test_the_register_is_paged_newest_first_and_narrowed_to_a_party(
    cast: Cast, administrator: httpx.AsyncClient
) -> None:
    made = [(await issued(administrator))["id"] for _ in range(5)]
    await issued(administrator, party="DVLA")
    seen, cursor = [], ""
    while cursor is not None:
        answer = await administrator.get(f"/v1/keys?party=HMRC&limit=2{cursor and '&cursor=' + cursor}")
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert seen == made[::-1]
    assert len((await administrator.get("/v1/keys")).json()["items"]) == 7
    assert slug(await administrator.get("/v1/keys?party=DVLA&cursor=bm9uZQ")) == "bad-cursor"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"party": "NOBODY"}, "/party"),
        ({"role": "national"}, "/role"),
        ({"scope": ["submit_referral"]}, "/scope"),
        ({"scope": ["everything"]}, "/scope"),
        ({"networks": ["10.4.0.1/16"]}, "/networks"),
        ({"networks": ["hmrc.example"]}, "/networks"),
        ({"expires_in_days": 0}, "/expires_in_days"),
        ({"label": "two\nlines"}, "/label"),
    ],
)
async def test_what_no_key_can_be_is_told_by_field_and_without_the_value(
    administrator: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    answer = await administrator.post("/v1/keys", json={"party": "HMRC", **body})
    assert (answer.status_code, slug(answer)) == (422, "invalid-body")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    for value in ("NOBODY", "10.4.0.1", "hmrc.example", "everything"):
        assert value not in answer.text


async def test_asked_for_again_a_key_is_not_made_twice_nor_shown_again(
    administrator: httpx.AsyncClient, database: Database
) -> None:
    once = {"Idempotency-Key": "ticket-4711"}
    made = await issued(administrator, once, label="one")
    again = await administrator.post("/v1/keys", json={"party": "HMRC", "label": "one"}, headers=once)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json() == {**made, "key": None}
    other = await administrator.post("/v1/keys", json={"party": "HMRC", "label": "two"}, headers=once)
    assert (other.status_code, slug(other)) == (422, "idempotency-key-reused")
    assert (await actions(database)).count("key.issued") == 1

    rotated = await administrator.post(f"/v1/keys/{made['id']}/rotation", headers={"Idempotency-Key": "turn"})
    repeated = await administrator.post(f"/v1/keys/{made['id']}/rotation", headers={"Idempotency-Key": "turn"})
    assert repeated.json() == {**rotated.json(), "key": None}


async def test_rotation_keeps_the_terms_and_both_keys_work_for_the_overlap(
    cast: Cast, administrator: httpx.AsyncClient, database: Database
) -> None:
    old = await issued(
        administrator, scope=["read_inbox"], networks=["127.0.0.0/8"], label="poller", expires_in_days=30
    )
    answer = await administrator.post(f"/v1/keys/{old['id']}/rotation", json={"overlap_hours": 48})
    assert answer.status_code == 201, answer.text
    new = answer.json()
    for name in ("party", "role", "label", "scope", "networks"):
        assert new[name] == old[name]
    assert new["replaces"] == old["id"]
    assert new["expires_at"][:10] == old["expires_at"][:10]
    assert await status_of(cast, old["key"]) == await status_of(cast, new["key"]) == 200
    ends = (await administrator.get(f"/v1/keys/{old['id']}")).json()["expires_at"]
    assert ends[:13] == (clock.now() + timedelta(hours=48)).isoformat()[:13]

    refused = await administrator.post(f"/v1/keys/{old['id']}/rotation")
    assert (refused.status_code, slug(refused)) == (409, "state-conflict")
    assert new["id"] in refused.json()["detail"]


async def test_of_a_line_of_keys_two_are_alive_at_most(cast: Cast, administrator: httpx.AsyncClient) -> None:
    line = [await issued(administrator)]
    for _ in range(2):
        line.append((await administrator.post(f"/v1/keys/{line[-1]['id']}/rotation")).json())

    async def statuses() -> list[int]:
        return [await status_of(cast, made["key"]) for made in line]

    async def first_is_over() -> bool:
        return await statuses() == [401, 200, 200]

    await eventually(first_is_over, 2)


async def test_without_overlap_the_old_key_ends_at_once(cast: Cast, administrator: httpx.AsyncClient) -> None:
    old = await issued(administrator)
    assert await status_of(cast, old["key"]) == 200
    await administrator.post(f"/v1/keys/{old['id']}/rotation", json={"overlap_hours": 0})

    async def over() -> bool:
        return await status_of(cast, old["key"]) == 401

    await eventually(over, 2)
    assert slug(await administrator.post(f"/v1/keys/{old['id']}/rotation")) == "state-conflict"


async def test_revoking_repeats_and_what_is_not_there_is_404(
    administrator: httpx.AsyncClient, database: Database
) -> None:
    made = await issued(administrator)
    first = await administrator.post(f"/v1/keys/{made['id']}/revocation")
    assert first.status_code == 200
    assert first.json()["revoked_at"]
    assert (await administrator.post(f"/v1/keys/{made['id']}/revocation")).json() == first.json()
    assert (await actions(database)).count("key.revoked") == 1
    for path in ("", "/rotation", "/revocation"):
        method = "POST" if path else "GET"
        for missing in ("nosuchkey000", "not-an-id"):
            assert slug(await administrator.request(method, f"/v1/keys/{missing}{path}")) == "not-found"


async def test_every_change_of_the_register_is_in_the_log(
    cast: Cast, administrator: httpx.AsyncClient, database: Database
) -> None:
    made = await issued(administrator)
    turned = (await administrator.post(f"/v1/keys/{made['id']}/rotation")).json()
    await administrator.post(f"/v1/keys/{made['id']}/revocation")
    await administrator.get("/v1/keys")
    log = await rows(database, "SELECT operation, action, party, detail FROM audit_event ORDER BY id")
    assert [(entry["operation"], entry["action"]) for entry in log] == [
        ("alteration", "key.issued"),
        ("alteration", "key.rotated"),
        ("alteration", "key.revoked"),
        ("consultation", "keys.listed"),
    ]
    assert {entry["party"] for entry in log} == {"GAIN"}
    assert log[1]["detail"] == {"key": turned["id"], "party": "HMRC", "role": "agency", "replaces": made["id"]}


async def test_a_key_ends_with_its_time_and_its_session_too(cast: Cast, database: Database) -> None:
    key = await cast.key("TARIAN", terms=Terms(expires_at=clock.now() + timedelta(days=1)))
    own = {"Sec-Fetch-Site": "same-origin"}
    browser = cast.client(own)
    assert (await submit(browser, "/sign-in/key", {"key": key})).status_code == 303
    assert (await browser.get("/")).status_code == 200
    client = cast.client({"Authorization": f"Bearer {key}"})
    assert (await client.get("/v1/queues")).status_code == 200
    await change(database, "UPDATE api_key SET expires_at = now()")

    async def over() -> bool:
        return (await client.get("/v1/queues")).status_code == 401

    await eventually(over, 2)
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    assert (await submit(browser, "/sign-in/key", {"key": key})).status_code == 401


async def test_a_key_that_only_reads_changes_nothing(cast: Cast, workers: Workers) -> None:
    await dispatched(cast, workers, "HMRC")
    key = await cast.key("HMRC", terms=Terms(scope=["read"]))
    reading = cast.client({"Authorization": f"Bearer {key}"})
    [item] = (await reading.get("/v1/inbox")).json()["items"]
    for call in (f"{item['id']}/acknowledgement", f"{item['id']}/response", "claims", "acknowledgements", "responses"):
        answer = await reading.post(f"/v1/inbox/{call}", json={})
        assert (answer.status_code, slug(answer)) == (403, "outside-scope"), call
    force = await cast.key("SWP", terms=Terms(scope=["read"]))
    client = cast.client({"Authorization": f"Bearer {force}"})
    assert (await client.get("/v1/referrals")).status_code == 200
    assert slug(await client.post("/v1/referrals", json={})) == "outside-scope"
    writing = await cast.key("SWP", terms=Terms(scope=["submit_referral"]))
    await submitted(cast.client({"Authorization": f"Bearer {writing}"}))


async def test_a_key_works_in_its_networks_and_nowhere_else(configuration: Settings, database: Database) -> None:
    terms = Terms(networks=["10.4.0.0/16", "2001:db8::/32"])
    for address, expected in (("10.4.7.7", 200), ("2001:db8::7", 200), ("10.5.0.1", 401), ("127.0.0.1", 401)):
        async with gateway(configuration, database, client=address) as cast:
            key = await cast.key("HMRC", terms=terms)
            assert await status_of(cast, key) == expected, address
            form = {"grant_type": "client_credentials", "client_secret": key}
            assert (await cast.client({}).post("/v1/token", data=form)).status_code == expected
    async with gateway(configuration, database, client="10.0.0.2", forwarding_proxy="10.0.0.2/32") as cast:
        key = await cast.key("HMRC", terms=terms)
        for forwarded, expected in (("203.0.113.1, 10.4.7.7", 200), ("10.4.7.7, 203.0.113.1", 401)):
            client = cast.client({"Authorization": f"Bearer {key}", "X-Forwarded-For": forwarded})
            assert (await client.get("/v1/inbox")).status_code == expected


async def test_a_session_works_in_the_networks_of_its_key_alone(configuration: Settings, database: Database) -> None:
    own = {"Sec-Fetch-Site": "same-origin"}
    async with (
        gateway(configuration, database, client="10.4.7.7") as inside,
        gateway(configuration, database, client="10.5.0.1") as outside,
    ):
        key = await inside.key("TARIAN", terms=Terms(networks=["10.4.0.0/16"]))
        browser = inside.client(own)
        assert (await submit(browser, "/sign-in/key", {"key": key})).status_code == 303
        assert (await browser.get("/")).status_code == 200
        stolen = outside.client({**own, "Cookie": f"gain={browser.cookies['gain']}"})
        assert (await stolen.get("/")).status_code == 401
        assert (await submit(outside.client(own), "/sign-in/key", {"key": key})).status_code == 401


async def test_production_takes_no_key_that_was_made_elsewhere(configuration: Settings, database: Database) -> None:
    secret = secrets.token_urlsafe(48)
    async with gateway(configuration, database, environment="production", secret=SecretStr(secret)) as cast:
        asked = []
        for mark in ("dev", "live"):
            async with database.transaction(AS_ADMINISTRATOR) as connection:
                key = await issue(connection, Keys(secret.encode()), "TARIAN", environment=mark)
            assert key.startswith(f"gain_{mark}_")
            client = cast.client({"Sec-Fetch-Site": "same-origin"})
            answers = [
                await client.get("/v1/queues", headers={"Authorization": f"Bearer {key}"}),
                await client.post("/v1/token", data={"grant_type": "client_credentials", "client_secret": key}),
                await submit(client, "/sign-in/key", {"key": key}),
            ]
            asked.append([answer.status_code for answer in answers])
        assert asked == [[401, 401, 401], [200, 200, 303]]


async def test_when_a_key_was_last_used_is_seen_within_seconds(cast: Cast, administrator: httpx.AsyncClient) -> None:
    made = await issued(administrator)
    assert made["last_used_at"] is None
    assert await status_of(cast, made["key"]) == 200

    async def seen() -> bool:
        return bool((await administrator.get(f"/v1/keys/{made['id']}")).json()["last_used_at"])

    await eventually(seen, 5)


async def test_a_busy_key_is_written_down_seldom(database: Database, cast: Cast) -> None:
    uses, key = Uses(database, seconds=3600), id_of(await cast.key("HMRC"))
    written = "SELECT last_used_at FROM api_key"
    uses.note(key)
    await uses.write()
    first = await rows(database, written)
    assert first[0]["last_used_at"] is not None
    uses.note(key)
    await uses.write()
    assert await rows(database, written) == first
    uses = Uses(database, seconds=0)
    uses.note(key)
    await uses.write()
    assert await rows(database, written) != first


async def test_a_key_asking_too_often_is_told_when_to_come_back(configuration: Settings, database: Database) -> None:
    async with gateway(configuration, database, rate_per_key="5/hour") as cast:
        client, other = await cast.play("HMRC"), await cast.play("HMRC")
        statuses = [(await client.get("/v1/inbox")).status_code for _ in range(6)]
        assert statuses == [200] * 5 + [429]
        answer = await client.post("/v1/inbox/claims", json={})
        assert slug(answer) == "too-many-requests"
        assert 0 < int(answer.headers["retry-after"]) <= 2 * 3600
        assert answer.headers["ratelimit-policy"] == '"key";q=5;w=3600'
        assert (await other.get("/v1/inbox")).status_code == 200


async def test_a_key_exchanged_too_often_is_told_when_to_come_back_and_is_seen_to_be_used(
    configuration: Settings, database: Database
) -> None:
    async with gateway(configuration, database, rate_per_key="5/hour") as cast:
        nobody, form = cast.client({}), {"grant_type": "client_credentials", "client_secret": await cast.key("HMRC")}
        answers = [await nobody.post("/v1/token", data=form) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert slug(answers[5]) == "too-many-requests"
        assert 0 < int(answers[5].headers["retry-after"]) <= 2 * 3600

        async def seen() -> bool:
            return (await rows(database, "SELECT last_used_at FROM api_key"))[0]["last_used_at"] is not None

        await eventually(seen, 30)


async def test_a_party_cannot_ask_oftener_with_more_keys(configuration: Settings, database: Database) -> None:
    async with gateway(configuration, database, rate_per_party="5/hour") as cast:
        clients = [await cast.play("HMRC") for _ in range(6)]
        assert [(await client.get("/v1/inbox")).status_code for client in clients] == [200] * 5 + [429]
        assert (await (await cast.play("DVLA")).get("/v1/inbox")).status_code == 200


async def test_a_limit_holds_over_all_gateways_within_seconds(configuration: Settings, database: Database) -> None:
    limits: dict[str, Any] = {"rate_per_key": "40/hour", "rate_per_party": ""}
    async with gateway(configuration, database, **limits) as one, gateway(configuration, database, **limits) as other:
        key = await one.key("HMRC")
        for _ in range(39):
            assert await status_of(one, key) == 200
        assert await status_of(other, key) == 200
        asked = 1

        async def refused() -> bool:
            nonlocal asked
            await asyncio.sleep(0.25)  # each question uses the limit up, and may not alone bring about what it asks
            asked += 1
            return await status_of(other, key) == 429

        await eventually(refused, 8)
        assert asked < 40


async def test_without_the_broker_each_gateway_limits_by_its_own_counts(
    configuration: Settings, database: Database
) -> None:
    away: dict[str, Any] = {"broker_url": "redis://127.0.0.1:1/0", "rate_per_key": "5/hour"}
    async with gateway(configuration, database, **away) as one, gateway(configuration, database, **away) as other:
        key = await one.key("HMRC")
        for cast in (one, other):
            client = cast.client({"Authorization": f"Bearer {key}"})
            assert [(await client.get("/v1/inbox")).status_code for _ in range(6)] == [200] * 5 + [429]
