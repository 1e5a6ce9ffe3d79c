"""The recording client: keeps every attempt and every 2xx, asks again as a client should, and settles the account."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
from sqlalchemy import Row, text

from app.access import keys as api_keys
from app.access.policy import Role
from app.crypto.keys import Keys
from app.db import Database, is_away
from app.referrals.documents import SubmittedReferral
from tests.conftest import referral
from tests.faults.footprint import differences
from tests.faults.plant import LEASE_SECONDS, SECRET, Plant

BODIES = ("HMRC", "DWP", "EA", "DVLA")
"""Whom the referrals here go to. All but EA are answered for by an adapter; EA works from its inbox."""

ADAPTED = ("HMRC", "DWP", "DVLA", "CH", "NCA")

PERSONAL = ("Quill", "Rhys Alun", "CF48 1AA", "CX14 ABC", "Zzyxquill7")
"""What must never be in a log, in an error or in the broker."""

CANARY = "Zzyxquill7"
"""A word in the purpose of whatever is submitted, and in the text of every answer: what lies open is found by it."""

_PATIENCE = 60.0

RECOVERY_SECONDS = LEASE_SECONDS + 12.0
"""Within this all work has moved on (I7): a lease, two sweeps, and a part that starts again on a busy machine."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request: what came back (a status, or the name of what went wrong) and after how many seconds."""

    path: str
    came: int | str
    seconds: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """One 2xx: what was sent and the id that came back."""

    kind: str
    party: str
    id: str
    about: str
    sent: Mapping[str, Any]


@dataclass(slots=True)
class Account:
    """What a fault did: requests sent, how many of them got a 2xx, and how many of those are stored as sent.

    All is well where `lost`, `duplicated` and `unexpected` are empty.
    """

    attempted: int = 0
    acknowledged: int = 0
    stored: int = 0
    recovery_seconds: float = 0.0
    """From the end of the fault until all work had moved on."""
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, int]:
        """The account in numbers, in the order of the report."""
        return {
            "attempted": self.attempted,
            "acknowledged": self.acknowledged,
            "stored": self.stored,
            "lost": len(self.lost),
            "duplicated": len(self.duplicated),
            "unexpected": len(self.unexpected),
        }


class Recorder:
    """Clients of a plant. Everything they sent and got is kept; `settle` compares it with what is stored."""

    def __init__(self, plant: Plant, database: Database) -> None:
        self.plant = plant
        self.database = database
        self.attempts: list[Attempt] = []
        self.receipts: list[Receipt] = []
        self.account = Account()
        self._http = httpx.AsyncClient(base_url=plant.url, timeout=10, limits=httpx.Limits(max_connections=100))
        self._posts = self._http
        self._keys: dict[tuple[str, Role | None], str] = {}
        self._before: set[UUID] = set()

    async def open(self) -> None:
        """Remember what is stored already: it is not ours. Makes the keys, so that no fault meets that."""
        self._before = await self._ids()
        for party in ("SWP", "TARIAN", *BODIES):
            await self.key(party)

    def use(self, client: httpx.AsyncClient) -> None:
        """Submit through another gateway from now on."""
        self._posts = client

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def key(self, party: str, role: Role | None = None) -> str:
        """The API key with which we act as a party."""
        if (party, role) not in self._keys:
            async with self.database.transaction() as connection:
                self._keys[party, role] = await api_keys.issue(connection, Keys(SECRET.encode()), party, role)
        return self._keys[party, role]

    async def get(self, party: str, path: str) -> httpx.Response:
        """A plain read; asked again while the gateway or its database is away."""
        headers = {"Authorization": f"Bearer {await self.key(party)}"}
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                answer = await self._http.get(path, headers=headers)
                if answer.status_code != 503:
                    return answer
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"{path} cannot be read"
            await asyncio.sleep(0.1)

    async def post(
        self, party: str, path: str, body: Mapping[str, Any], *, fine: Sequence[int] = (), key: str | None = None
    ) -> httpx.Response | None:
        """Ask until a 2xx, or an answer that is `fine` too; with one key, as long as it takes. None: it took too long.

        A broken connection, 429 and 503 (with `Retry-After`) and 409 `in flight` may happen in a fault; nothing else.
        """
        headers = {
            "Authorization": f"Bearer {await self.key(party)}",
            "Content-Type": "application/json",
            "Idempotency-Key": key or str(uuid4()),
        }
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            answer = await self._attempt(path, headers, body)
            if answer is None:
                await asyncio.sleep(0.1)
                continue
            if answer.is_success:
                self.account.acknowledged += 1
                return answer
            if answer.status_code in fine:
                return answer
            if not _may_be_asked_again(answer):
                self._note(f"{path}: {answer.status_code} {answer.text[:200]}")
                return answer
            await asyncio.sleep(0.1)
        self._note(f"{path}: no answer within {_PATIENCE:g} s")
        return None

    async def _attempt(self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> httpx.Response | None:
        began = time.monotonic()
        self.account.attempted += 1
        try:
            answer = await self._posts.post(path, headers=headers, content=orjson.dumps(body))
        except httpx.TransportError as error:
            self.attempts.append(Attempt(path, type(error).__name__, time.monotonic() - began))
            return None
        self.attempts.append(Attempt(path, answer.status_code, time.monotonic() - began))
        if any(word in answer.text for word in PERSONAL) and not answer.is_success:
            self._note(f"{path}: a refusal quotes what was sent")
        return answer

    def _note(self, what: str) -> None:
        self.account.unexpected.append(what)

    async def submit(self, addressees: Sequence[str] = ADAPTED, **changes: Any) -> Receipt | None:
        """Submit one referral as a force, until it is taken."""
        reference = f"FAULT/{uuid4()}"
        marked = {"purpose": f"{CANARY} is looked for.", "information_sought": CANARY}
        sent = referral(**{**marked, "addressees": list(addressees), "client_reference": reference, **changes})
        answer = await self.post("SWP", "/v1/referrals", sent)
        if answer is None or not answer.is_success:
            return None
        found = answer.json()
        receipt = Receipt("referral", "SWP", found["id"], found["id"], sent)
        if answer.headers.get("Location") != f"/v1/referrals/{found['id']}":
            self._note("a receipt without its Location")
        self.receipts.append(receipt)
        return receipt

    async def load(self, number: int, per_second: float = 20.0, **changes: Any) -> None:
        """Submit so many referrals at a steady rate, whatever becomes of those before."""
        tasks = []
        for _ in range(number):
            tasks.append(asyncio.create_task(self.submit(**changes)))
            await asyncio.sleep(1 / per_second)
        await asyncio.gather(*tasks)

    async def submit_together(self, number: int) -> list[str]:
        """Submit one referral so many times at once under one key; the ids of the receipts."""
        sent = referral(addressees=list(ADAPTED), client_reference=f"FAULT/{uuid4()}")
        key = str(uuid4())
        answers = await asyncio.gather(*(self.post("SWP", "/v1/referrals", sent, key=key) for _ in range(number)))
        ids = [answer.json()["id"] for answer in answers if answer is not None]
        self.receipts += [Receipt("referral", "SWP", one, one, sent) for one in ids]
        return ids

    async def cancel(self, receipt: Receipt, fine: Sequence[int] = ()) -> httpx.Response | None:
        """Take a referral back."""
        sent = {"reason": f"{CANARY} is no longer needed."}
        answer = await self.post("SWP", f"/v1/referrals/{receipt.id}/cancel", sent, fine=fine)
        if answer is not None and answer.is_success:
            self.receipts.append(Receipt("cancellation", "SWP", receipt.id, receipt.id, {"state": "cancelled"}))
        return answer

    async def answer(
        self, party: str, dispatch: str, about: str, body: Mapping[str, Any], fine: Sequence[int] = ()
    ) -> httpx.Response | None:
        """Answer an item as its agency."""
        answer = await self.post(party, f"/v1/inbox/{dispatch}/response", body, fine=fine)
        if answer is not None and answer.is_success:
            self.receipts.append(Receipt("answer", party, answer.json()["id"], about, body))
        return answer

    async def dispatches(self, referral_id: str) -> dict[str, dict[str, Any]]:
        """The dispatches of a referral by agency."""
        found = (await self.get("SWP", f"/v1/referrals/{referral_id}")).json()
        return {dispatch["agency"]: dispatch for dispatch in found["dispatches"]}

    async def opened(self, referral_id: str, seconds: float = 20) -> dict[str, dict[str, Any]]:
        """The dispatches of a referral as soon as it has them."""
        deadline = time.monotonic() + seconds
        while not (found := await self.dispatches(referral_id)):
            assert time.monotonic() < deadline, "a referral is not fanned out"
            await asyncio.sleep(0.05)
        return found

    async def release_everything(self, seconds: float = 20) -> None:
        """Close the clients; then the parts must soon hold no more than they did before (I9)."""
        await self.close()
        deadline = time.monotonic() + seconds
        while more := differences(await asyncio.to_thread(self.plant.footprint), self.plant.usual):
            if time.monotonic() > deadline:
                self.account.unexpected += more
                break
            await asyncio.sleep(0.2)
        assert not more, "\n".join(more)

    # The account

    async def moved_on(self, seconds: float) -> bool:
        """Whether, within `seconds`, everything of ours is finished that does not wait for a person."""
        deadline = time.monotonic() + seconds
        while left := await self._unfinished():
            if time.monotonic() > deadline:
                self._note(f"still unfinished after {seconds:g} s: {dict(left)}")
                return False
            await asyncio.sleep(0.1)
        return True

    async def settle(self, seconds: float = RECOVERY_SECONDS) -> None:
        """Wait until all work has moved on (I7), then compare every receipt with what is stored."""
        began = time.monotonic()
        await self.moved_on(seconds)
        self.account.recovery_seconds = time.monotonic() - began
        for receipt in self.receipts:
            if await self._is_stored(receipt):
                self.account.stored += 1
            else:
                self.account.lost.append(f"{receipt.kind} {receipt.id}")
        await self._find_doubles()
        await self._check()
        wrong = [*self.account.lost, *self.account.duplicated, *self.account.unexpected]
        assert not wrong, "\n".join(wrong)

    async def _rows(self, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
        """What a query finds; asked again while the database is away."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                async with self.database.transaction() as connection:
                    return (await connection.execute(text(statement), parameters)).all()
            except Exception as error:
                if not is_away(error) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.2)

    async def _ids(self) -> set[UUID]:
        return {row.id for row in await self._rows("SELECT id FROM referral")}

    async def _unfinished(self) -> Counter[str]:
        statement = """
            SELECT 'referral ' || state AS what, id FROM referral WHERE state = 'accepted'
            UNION ALL
            SELECT 'dispatch ' || state, referral_id FROM dispatch
             WHERE agency = ANY(:adapted) AND state IN ('queued', 'delivered', 'acknowledged')
        """
        rows = await self._rows(statement, adapted=list(ADAPTED))
        return Counter(row.what for row in rows if row.id not in self._before)

    async def _is_stored(self, receipt: Receipt) -> bool:
        if receipt.kind != "answer":
            answer = await self.get(receipt.party, f"/v1/referrals/{receipt.id}")
            says = _says if receipt.kind == "referral" else _says_all
            return answer.status_code == 200 and says(answer.json(), receipt.sent)
        answer = await self.get("SWP", f"/v1/referrals/{receipt.about}/responses")
        found = [item for item in answer.json()["items"] if item["id"] == receipt.id]
        return len(found) == 1 and _says_all(found[0], receipt.sent)

    async def _find_doubles(self) -> None:
        sent: dict[str, set[str]] = {}
        for receipt in self.receipts:
            sent.setdefault(f"{receipt.kind} {receipt.id}", set()).add(orjson.dumps(receipt.sent).decode())
        self.account.duplicated += [f"different requests, one receipt: {key}" for key in sent if len(sent[key]) > 1]
        ours = await self._ids() - self._before
        nobodys = ours - {UUID(receipt.id) for receipt in self.receipts if receipt.kind == "referral"}
        self.account.duplicated += [f"a referral without a receipt: {key}" for key in nobodys]
        for what, statement in _DOUBLES.items():
            rows = await self._rows(statement, ids=list(ours))
            self.account.duplicated += [f"{what}: {row}" for row in rows]

    async def _check(self) -> None:
        from tests.invariants import check

        async with self.database.transaction() as connection:
            try:
                await check(connection)
            except AssertionError as error:
                self._note(str(error))
        logs = self.plant.logs()
        self.account.unexpected += [f"personal data in a log: {word}" for word in PERSONAL if word in logs]
        self.account.unexpected += [f"personal data in the broker: {word!r}" for word in self.plant.broker.seen]
        said = (await self._http.get("/metrics")).text
        self.account.unexpected += [f"personal data in a metric: {word}" for word in PERSONAL if word in said]
        for row in await self._rows(_KEPT_REASONS):
            self.account.unexpected += [f"personal data in a reason: {word}" for word in PERSONAL if word in row.reason]
        if stuck := await self._rows(_STUCK):
            self._note(f"{len(stuck)} connections hold a transaction open")


_DOUBLES = {
    "more than one dispatch to an addressee": """
        SELECT referral_id, agency FROM dispatch WHERE referral_id = ANY(:ids) GROUP BY 1, 2, round HAVING count(*) > 1
    """,
    "more than one accepted answer": """
        SELECT dispatch_id FROM response
         WHERE referral_id = ANY(:ids) AND flag IS NULL AND outcome <> 'more_information'
         GROUP BY 1 HAVING count(*) > 1
    """,
    "logged more than once": """
        SELECT action, referral_id, dispatch_id FROM audit_event
         WHERE referral_id = ANY(:ids)
           AND action IN ('referral.accepted', 'referral.dispatched', 'referral.completed', 'referral.cancelled',
                          'dispatch.delivered', 'dispatch.cancelled', 'dispatch.undeliverable', 'response.recorded')
         GROUP BY 1, 2, 3 HAVING count(*) > 1
    """,
}

_KEPT_REASONS = """
    SELECT DISTINCT last_failure AS reason FROM dispatch WHERE last_failure IS NOT NULL
    UNION SELECT DISTINCT coalesce(detail::text, '') FROM audit_event
    UNION SELECT DISTINCT coalesce(disabled_reason, '') FROM push_endpoint
"""

_STUCK = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND state_change < now() - interval '5 s'
"""


def _may_be_asked_again(answer: httpx.Response) -> bool:
    if answer.status_code in (429, 503):
        return "Retry-After" in answer.headers
    return answer.status_code == 409 and answer.json().get("type", "").endswith("idempotency-in-flight")


def _says(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Whether a stored referral says all that was sent, and it alone."""
    document = SubmittedReferral.model_validate(sent).model_dump(mode="json", exclude_unset=True)
    return all(stored.get(name) == value for name, value in document.items())


def _says_all(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    return all(stored.get(name) == value for name, value in sent.items())
