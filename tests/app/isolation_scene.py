"""What the isolation matrix is played with: who asks from where, the rows they ask for, and how each route is asked."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy import text

from app.access import keys as api_keys
from app.access.forms import HEADER as FORM_TOKEN
from app.access.forms import token_of_session
from app.access.keys import Credential
from app.access.policy import Role
from app.access.principal import behalf_of
from app.access.sessions import open_session, session_id
from app.audit.record import Actor
from app.crypto.keys import Keys
from app.db import Database
from app.referrals import drafts
from tests.acts import NO_HIT, QUESTION, Document, rows
from tests.app.isolation_requests import (
    ADDRESSED,
    COVER,
    HELD,
    NORTH,
    NORTH_ADDRESSED,
    OWNER,
    PARTIES,
    PEOPLE,
    Ask,
    Caller,
    Position,
    Target,
    consent_body,
    subject_of,
)
from tests.conftest import SECRET, Workers, referral

KEYS = Keys(SECRET.encode())
BASE = "http://gain.test"


_PAIR = """
    INSERT INTO duplicate (id, earlier, earlier_reference, earlier_party, earlier_region, earlier_at,
                           later, later_reference, later_party, later_region, later_at, kinds)
    SELECT uuidv7(), one.id, one.reference, one.originator, one.region, one.created_at,
           two.id, two.reference, two.originator, two.region, two.created_at, '{person}'
      FROM referral AS one, referral AS two WHERE one.id = :earlier AND two.id = :later
    RETURNING id
"""


_ALERT = """
    INSERT INTO alert (kind, dispatch_id, referral_id, agency, region)
    SELECT 'late_answer', id, referral_id, agency, region FROM dispatch WHERE id = :id RETURNING id
"""
_PERSON = text("""
    INSERT INTO account (id, party, username, name, roles, state, manager)
    VALUES (uuidv7(), :party, :username, 'Ceri Example', ARRAY[:role], 'active', true) RETURNING id
""")

_OF_REFERRALS = ("referral", "dispatch", "response", "message", "referral_outcome", "consent")


class Scene:
    """The callers of every role and position, and as many targets as are asked for, on one gateway."""

    def __init__(self, app: FastAPI, database: Database) -> None:
        self._app = app
        self._database = database
        self._batches: dict[str, str] = {}
        self._spare: dict[bool, list[Target]] = {}
        self._all: dict[bool, list[Target]] = {}
        self._overseer = httpx.AsyncClient()
        self.callers: list[Caller] = []

    async def build(self, south: int, north: int) -> None:
        """Make the callers, and so many targets of each kind."""
        for role, parties in PARTIES.items():
            self.callers += [await self._caller(role, position, party) for position, party in parties.items()]
        self._overseer = next(caller.client for caller in self.callers if caller.role is Role.NATIONAL)
        await self._refer(OWNER, ADDRESSED, south)
        await self._refer(NORTH, NORTH_ADDRESSED, north)
        await Workers(self._database).run()
        for is_north, party, addressed in ((False, OWNER, ADDRESSED), (True, NORTH, NORTH_ADDRESSED)):
            made = await self._made(party)
            pair = await self._pair(str(made[0]["id"]), str(made[1]["id"]))
            found = [replace(await self._target(row, addressed), duplicate=pair, originator=party) for row in made]
            consent = await self._asked(found[0])
            self._all[is_north] = [replace(one, consent=consent) for one in found]
            self._spare[is_north] = list(self._all[is_north])

    async def close(self) -> None:
        """Close every client."""
        for caller in self.callers:
            await caller.client.aclose()
            await caller.browser.aclose()

    async def target(self, ask: Ask, *, north: bool) -> Target:
        """A target that nobody has touched yet, prepared for a route."""
        found = self._spare[north].pop()
        if ask.prepared == "held":
            await self._done(f"/v1/referrals/{found.referral}/hold", reason="Wait.")
        elif ask.prepared == "legal hold":
            await self._done(f"/v1/referrals/{found.referral}/legal-hold", reason="An inquiry.")
        elif ask.prepared == "answered":
            await self._answered(found)
        elif ask.prepared == "question":
            await self._answered(found, QUESTION)
        elif ask.prepared == "consent":
            found = replace(found, consent=await self._asked(found))
        elif ask.prepared == "duplicate":
            found = replace(found, duplicate=await self._pair(self._all[north][0].referral, found.referral))
        elif ask.prepared == "alert":
            await rows(self._database, _ALERT, id=UUID(found.dispatch))
        elif ask.prepared in ("dispatch cancelled", "completed"):
            await self._done(f"/v1/dispatches/{found.dispatch}/cancel", reason="Not to go on.")
            if ask.prepared == "completed":
                await self._done(f"/v1/dispatches/{found.held}/cancel", reason="Not to go on.")
        return found

    def everything(self, north: bool) -> list[Target]:
        """All targets of the north, or of the south."""
        return self._all[north]

    async def content(self) -> list[Any]:
        """Everything that a refused request must not have changed: all but when a key was used last."""
        whole = [
            await rows(self._database, f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
            for table in (*_OF_REFERRALS, "duplicate", "draft")
        ]
        return [*whole, await rows(self._database, "SELECT id, expires_at, revoked_at FROM api_key ORDER BY id")]

    async def _caller(self, role: Role, position: Position, party: str) -> Caller:
        address = f"192.0.2.{len(self.callers) + 1}"
        async with self._database.transaction() as connection:
            key = await api_keys.issue(connection, KEYS, party, role)
            parsed = api_keys.parse(key)
            assert parsed is not None
            credential = Credential(parsed[0], party, role)
            if position in PEOPLE:
                parameters = {"party": party, "username": f"{role}.{position.name.lower()}@x.example", "role": role}
                account = await connection.scalar(_PERSON, parameters)
                credential = Credential(str(account), party, role, person="Ceri Example")
            cookie = await open_session(connection, KEYS, credential)
        headers = {"Authorization": f"Bearer {key}"}
        token = token_of_session(KEYS, session_id(KEYS, cookie))
        browser = {"Origin": BASE, "Cookie": f"gain={cookie}", FORM_TOKEN: token}
        return Caller(role, position, party, key, self._client(address, headers), self._client(address, browser))

    def _client(self, address: str, headers: Mapping[str, str]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers, timeout=20)

    async def _refer(self, owner: str, addressed: str, count: int) -> None:
        force = next(one for one in self.callers if one.role is Role.ORIGINATOR and one.party == owner).client
        bodies = [referral(addressees=[addressed, HELD], subject=subject_of(owner, number)) for number in range(count)]
        for answer in await asyncio.gather(*(force.post("/v1/referrals", json=body) for body in bodies)):
            assert answer.status_code == 201, answer.text
        kind = {"Content-Type": "application/x-ndjson"}
        batch = await force.post("/v1/referral-batches", content=b"{}", headers=kind)
        assert batch.status_code == 202, batch.text
        self._batches[owner] = batch.json()["id"]

    async def _made(self, originator: str) -> list[Document]:
        query = "SELECT id, reference, originator FROM referral WHERE originator = :originator ORDER BY id"
        return await rows(self._database, query, originator=originator)

    async def _target(self, row: Document, addressed: str) -> Target:
        query = "SELECT agency, id FROM dispatch WHERE referral_id = :id"
        found: dict[str, UUID] = {one["agency"]: one["id"] for one in await rows(self._database, query, id=row["id"])}
        async with self._database.transaction() as connection:
            key = api_keys.parse(await api_keys.issue(connection, KEYS, "EA"))
            cover = await connection.scalar(COVER, {"region": "TITAN" if addressed == NORTH_ADDRESSED else "TARIAN"})
        assert key is not None
        return Target(
            str(row["id"]),
            row["reference"],
            str(found[addressed]),
            str(found[HELD]),
            key[0],
            str(cover),
            "",
            self._batches[row["originator"]],
            str(await self._draft(row["originator"])),
        )

    async def _draft(self, party: str) -> UUID:
        async with self._database.transaction(behalf_of(Role.ORIGINATOR, [party])) as connection:
            return await drafts.begin(connection, Actor(party, "tests"))

    def _playing(self, role: Role, party: str) -> httpx.AsyncClient:
        return next(one for one in self.callers if one.role is role and one.party == party).client

    async def _answered(self, target: Target, said: Document = NO_HIT) -> None:
        """Its body has answered it, or asks."""
        agency = self._playing(Role.AGENCY, NORTH_ADDRESSED if target.originator == NORTH else ADDRESSED)
        answer = await agency.post(f"/v1/inbox/{target.dispatch}/response", json=said)
        assert answer.status_code == 201, answer.text

    async def _asked(self, target: Target) -> str:
        """Its originator has asked the body that answered it for its consent."""
        await self._answered(target)
        path = f"/v1/referrals/{target.referral}/dispatches/{target.dispatch}/consents"
        answer = await self._playing(Role.ORIGINATOR, target.originator).post(path, json=consent_body(target))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def _pair(self, earlier: str, later: str) -> str:
        """A possible duplicate of two referrals of one region, as fan-out finds them between regions."""
        [made] = await rows(self._database, _PAIR, earlier=UUID(earlier), later=UUID(later))
        return str(made["id"])

    async def _done(self, path: str, **body: str) -> None:
        answer = await self._overseer.post(path, json=body)
        assert answer.status_code == 200, answer.text
