"""Tokens: a key exchanged for ten minutes, what a token may, and how soon it is over when it is given up."""

import base64
import hashlib
import time
from typing import Any
from urllib.parse import quote_plus

import httpx
import jwt
import pytest

from app.access import tokens
from app.access.keys import Terms, parse
from app.access.policy import Role, actions_of
from app.access.tokens import Signer
from app.crypto.keys import Keys
from app.db import Database
from app.errors import CREDENTIAL_REQUIRED
from app.main import create_app
from app.settings import Settings
from app.wake import Nobody
from tests.acts import dispatched, eventually, rows, slug
from tests.app.bearers import GRANT, bearing, certificate, forged, give_up, nobody, token
from tests.conftest import Cast, Workers, gateway

__all__ = ["nobody"]
PROXY = "10.0.0.2"


async def test_a_key_is_exchanged_for_a_token_that_does_what_the_key_does(
    cast: Cast, nobody: httpx.AsyncClient
) -> None:
    key = await cast.key("HMRC")
    answer = await nobody.post("/v1/token", data={**GRANT, "client_secret": key})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["token_type"] == "Bearer"
    assert document["expires_in"] == 600
    assert document["scope"].split() == sorted(actions_of(Role.AGENCY))
    client = bearing(cast, document["access_token"])
    assert (await client.get("/v1/inbox")).status_code == 200
    assert slug(await client.get("/v1/referrals")) == "role-not-allowed"


IDS = ["HMRC", "DVLA", "our-program", "https://hmrc.example/client?a=1&b=%20", "a:b+c d", "~" * 256, ""]


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("way", ["basic", "form", "bearer"])
async def test_whatever_id_a_library_insists_on_the_key_alone_says_whose_token_it_is(
    cast: Cast, nobody: httpx.AsyncClient, way: str, id: str
) -> None:
    key = await cast.key("HMRC")
    how: dict[str, Any] = {"data": {**GRANT, "client_id": id}}
    if way == "basic":
        how = {"data": GRANT, "auth": (quote_plus(id), key)}  # RFC 6749 section 2.3.1
    elif way == "form":
        how["data"] |= {"client_secret": key}
    else:
        how["headers"] = {"Authorization": f"Bearer {key}"}
    answer = await nobody.post("/v1/token", **how)
    assert answer.status_code == 200, answer.text
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert (claims["party"], claims["role"]) == ("HMRC", "agency")
    given_up = {name: value for name, value in how["data"].items() if name != "grant_type"}
    revoked = await nobody.post("/v1/token/revoke", **{**how, "data": {**given_up, "token": "none"}})
    assert revoked.status_code == 200


@pytest.mark.parametrize("way", ["basic", "basic by party", "form", "bearer"])
async def test_a_client_authenticates_in_each_of_the_usual_ways(
    cast: Cast, nobody: httpx.AsyncClient, way: str
) -> None:
    key = await cast.key("HMRC")
    parsed = parse(key)
    assert parsed is not None
    data: dict[str, str] = dict(GRANT)
    how: dict[str, Any] = {}
    if way.startswith("basic"):
        how = {"auth": ("HMRC" if "party" in way else parsed[0], key)}
    elif way == "form":
        data |= {"client_id": parsed[0], "client_secret": key}
    else:
        how = {"headers": {"Authorization": f"Bearer {key}"}}
    assert (await nobody.post("/v1/token", data=data, **how)).status_code == 200


async def test_the_key_set_verifies_a_token_with_any_library(cast: Cast, nobody: httpx.AsyncClient) -> None:
    made = await token(cast, await cast.key("HMRC"))
    answer = await nobody.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    published = {key.key_id: key for key in jwt.PyJWKSet.from_dict(answer.json()).keys}
    header = jwt.get_unverified_header(made)
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    url = "http://127.0.0.1:8000"
    claims = jwt.decode(made, published[header["kid"]], algorithms=["EdDSA"], audience=url, issuer=url)
    assert (claims["party"], claims["role"]) == ("HMRC", "agency")
    assert claims["exp"] - claims["iat"] == 600
    for public in answer.json()["keys"]:
        assert public.keys() == {"kty", "crv", "x", "kid", "alg", "use"}


REFUSED: list[tuple[dict[str, str], int, str]] = [
    ({}, 400, "invalid_request"),
    ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ({**GRANT, "scope": "submit_referral"}, 400, "invalid_scope"),
    ({**GRANT, "scope": "read everything"}, 400, "invalid_scope"),
    ({**GRANT, "client_secret": "gain_dev_0_0_0"}, 401, "invalid_client"),
    ({**GRANT, "client_secret": ""}, 401, "invalid_client"),
    ({**GRANT, "client_id": "HMRC", "client_secret": "gain_dev_0_0_0"}, 401, "invalid_client"),
    ({**GRANT, "client_id": "a\0b"}, 401, "invalid_client"),
    ({**GRANT, "client_id": "a\nb"}, 401, "invalid_client"),
    ({**GRANT, "client_id": "caf\u00e9"}, 401, "invalid_client"),
    ({**GRANT, "client_id": "x" * 257}, 401, "invalid_client"),
]


@pytest.mark.parametrize(("fields", "status", "error"), REFUSED)
async def test_a_refusal_speaks_oauth_and_problem(
    cast: Cast, nobody: httpx.AsyncClient, fields: dict[str, str], status: int, error: str
) -> None:
    answer = await nobody.post("/v1/token", data={"client_secret": await cast.key("HMRC"), **fields})
    assert answer.status_code == status, answer.text
    assert slug(answer) == ("token-refused" if status == 400 else "credential-required")
    assert answer.json()["error"] == error
    if status == 401:
        assert answer.headers["www-authenticate"] == "Basic"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_form_that_is_none_is_refused(cast: Cast, nobody: httpx.AsyncClient) -> None:
    key = await cast.key("HMRC")
    json = await nobody.post("/v1/token", json={**GRANT, "client_secret": key})
    assert (json.status_code, json.json()["error"]) == (415, "invalid_request")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (f"client_secret={key}&client_secret={key}", "a=%ff", "&".join(f"f{n}=1" for n in range(30))):
        answer = await nobody.post("/v1/token", content=body, headers=form)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), body
    twice = await nobody.post("/v1/token", data={**GRANT, "client_secret": key}, auth=("HMRC", key))
    assert twice.json()["error"] == "invalid_request"


async def test_keys_cannot_be_tried_out_at_speed_and_a_good_one_is_not_counted(
    cast: Cast, nobody: httpx.AsyncClient
) -> None:
    key = await cast.key("HMRC")
    for _ in range(70):
        assert (await nobody.post("/v1/token", data={**GRANT, "client_secret": key})).status_code == 200
    for _ in range(60):
        assert (await nobody.post("/v1/token", data={**GRANT, "client_secret": "wrong"})).status_code == 401
    answer = await nobody.post("/v1/token", data={**GRANT, "client_secret": "wrong"})
    assert slug(answer) == "too-many-requests"
    assert 0 < int(answer.headers["retry-after"]) <= 60


async def test_a_token_may_do_less_than_its_key(cast: Cast, workers: Workers) -> None:
    await dispatched(cast, workers, "HMRC")
    reading = bearing(cast, await token(cast, await cast.key("HMRC"), scope="read"))
    [item] = (await reading.get("/v1/inbox")).json()["items"]
    answer = await reading.post(f"/v1/inbox/{item['id']}/acknowledgement")
    assert (answer.status_code, slug(answer)) == (403, "outside-scope")
    whole = bearing(cast, await token(cast, await cast.key("HMRC"), scope="read_inbox answer"))
    assert (await whole.post(f"/v1/inbox/{item['id']}/acknowledgement")).status_code == 200


async def test_a_token_may_not_do_more_than_its_key(cast: Cast, nobody: httpx.AsyncClient) -> None:
    key = await cast.key("HMRC", terms=Terms(scope=["read"]))
    assert (await nobody.post("/v1/token", data={**GRANT, "client_secret": key})).json()[
        "scope"
    ] == "read_inbox read_policy"
    more = await nobody.post("/v1/token", data={**GRANT, "client_secret": key, "scope": "answer"})
    assert more.json()["error"] == "invalid_scope"


async def test_where_tokens_must_be_a_bare_key_does_nothing_but_get_one(
    configuration: Settings, database: Database
) -> None:
    async with gateway(configuration, database, require_tokens=True) as cast:
        key = await cast.key("HMRC")
        answer = await bearing(cast, key).get("/v1/inbox")
        assert (answer.status_code, slug(answer)) == (401, CREDENTIAL_REQUIRED.slug)
        assert "POST /v1/token" in answer.json()["detail"]
        made = await token(cast, key)
        assert (await bearing(cast, made).get("/v1/inbox")).status_code == 200


FORGERIES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("past its time", {"exp": int(time.time()) - 1}, {}),
    ("without an end", {"exp": None}, {}),
    ("for another audience", {"aud": "https://elsewhere.example"}, {}),
    ("of another issuer", {"iss": "https://elsewhere.example"}, {}),
    ("without an id", {"jti": None}, {}),
    ("without a scope", {"scope": None}, {}),
    ("of an unknown key", {"sub": "nobodys00000"}, {}),
    ("no access token", {}, {"typ": "JWT"}),
    ("of an unknown signing key", {}, {"kid": "another"}),
]


@pytest.mark.parametrize(("why", "changes", "headers"), FORGERIES, ids=[why for why, _, _ in FORGERIES])
async def test_a_token_that_is_not_in_order_is_refused(
    cast: Cast, why: str, changes: dict[str, Any], headers: dict[str, Any]
) -> None:
    parsed = parse(await cast.key("HMRC"))
    assert parsed is not None
    good = await bearing(cast, forged({"sub": parsed[0]})).get("/v1/inbox")
    assert good.status_code == 200
    bad = await bearing(cast, forged({"sub": parsed[0], **changes}, headers=headers)).get("/v1/inbox")
    assert (bad.status_code, slug(bad)) == (401, "credential-required")


async def test_a_signature_of_somebody_else_is_refused(cast: Cast) -> None:
    made = await token(cast, await cast.key("HMRC"))
    header, claims, signature = made.split(".")
    other = Signer(Keys(b"another master secret, as long as it must be"), 1, "http://127.0.0.1:8000")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt","kid":"%s"}' % other._kid.encode()).decode()
    for wrong in (f"{header}.{claims}.{signature[::-1]}", f"{header}.{claims}.", f"{unsigned}.{claims}.", "eyJ"):
        assert (await bearing(cast, wrong).get("/v1/inbox")).status_code == 401


async def test_the_signing_key_changes_without_a_break(configuration: Settings, database: Database) -> None:
    made = {}
    for version in (1, 2, 3):
        async with gateway(configuration, database, token_key_version=version) as cast:
            made[version] = await token(cast, await cast.key("HMRC"))
    async with gateway(configuration, database, token_key_version=2) as cast:
        for each in made.values():
            assert (await bearing(cast, each).get("/v1/inbox")).status_code == 200
    async with gateway(configuration, database, token_key_version=3) as cast:
        assert (await bearing(cast, made[1]).get("/v1/inbox")).status_code == 401
        assert (await bearing(cast, made[2]).get("/v1/inbox")).status_code == 200


async def test_a_token_ends_by_itself(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    client = bearing(cast, await token(cast, await cast.key("HMRC")))
    assert (await client.get("/v1/inbox")).status_code == 200
    later = time.time() + tokens.LIFETIME_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert (await client.get("/v1/inbox")).status_code == 401


async def test_behind_the_proxy_a_token_belongs_to_a_certificate(configuration: Settings, database: Database) -> None:
    changes: dict[str, Any] = {"client_cert_proxy": f"{PROXY}/32"}
    async with (
        gateway(configuration, database, client=PROXY, **changes) as proxied,
        gateway(configuration, database, client="10.0.0.9", **changes) as direct,
    ):
        key = await proxied.key("HMRC")
        answer = await proxied.client(certificate()).post("/v1/token", data={**GRANT, "client_secret": key})
        bound = answer.json()["access_token"]
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(b"hmrc").digest()).rstrip(b"=").decode()
        assert jwt.decode(bound, options={"verify_signature": False})["cnf"] == {"x5t#S256": thumbprint}

        assert (await bearing(proxied, bound, **certificate()).get("/v1/inbox")).status_code == 200
        for wrong in (
            bearing(proxied, bound),
            bearing(proxied, bound, **certificate(b"somebody else's")),
            bearing(direct, bound, **certificate()),
        ):
            assert slug(await wrong.get("/v1/inbox")) == "credential-required"

        unbound = await direct.client(certificate()).post("/v1/token", data={**GRANT, "client_secret": key})
        free = unbound.json()["access_token"]
        assert "cnf" not in jwt.decode(free, options={"verify_signature": False})
        assert (await bearing(proxied, free).get("/v1/inbox")).status_code == 200


async def test_the_log_tells_of_every_token(cast: Cast, database: Database) -> None:
    key = await cast.key("HMRC")
    made = await token(cast, key)
    await give_up(cast, key, made)
    log = await rows(database, "SELECT action, party, actor FROM audit_event ORDER BY id")
    parsed = parse(key)
    assert parsed is not None
    assert log == [
        {"action": "token.issued", "party": "HMRC", "actor": parsed[0]},
        {"action": "token.revoked", "party": "HMRC", "actor": parsed[0]},
    ]


async def test_while_the_database_is_away_nobody_is_let_in_on_what_was_known(
    configuration: Settings, database: Database
) -> None:
    app = create_app(configuration, Nobody())
    async with app.router.lifespan_context(app):
        cast = Cast(database, httpx.ASGITransport(app))
        key = await cast.key("HMRC")
        clients = [bearing(cast, key), bearing(cast, await token(cast, key))]
        for client in clients:
            assert (await client.get("/v1/inbox")).status_code == 200
        here = app.state.gate.keys._database
        nowhere = configuration.model_copy(update={"database_url": "postgresql+asyncpg://nobody@127.0.0.1:1/none"})
        app.state.gate.keys._database = Database(nowhere)

        async def refused() -> bool:
            return all([(await client.get("/v1/inbox")).status_code == 503 for client in clients])

        await eventually(refused, 2)
        app.state.gate.keys._database = here
        for client in clients:
            assert (await client.get("/v1/inbox")).status_code == 200
        await cast.close()
