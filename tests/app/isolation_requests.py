"""What is asked of each route for the matrix of isolation: by whom, about what, with which body."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import uuid4

import httpx
from sqlalchemy import text

from app.access.policy import Relation, Role
from app.crypto.keys import Keys
from tests.acts import Document
from tests.conftest import SECRET, referral

KEYS = Keys(SECRET.encode())
BASE = "http://gain.test"


class Position(StrEnum):
    """How the asking party stands to the rows asked for."""

    OWNER = "owner"
    COLLEAGUE = "colleague"  # another key of the owner's party
    STRANGER = "stranger"  # of the owner's region where it has one, and neither owner nor addressed
    ADDRESSED = "addressed"
    PARTNER = "addressed colleague"  # another key of the addressed party
    ELSEWHERE = "other region"


# The rows: a referral of Merthyr Tydfil (Tarian's region) to HMRC. A co-ordinator owns what is of its region, so that
# for it "addressed" needs another referral: of North Wales (Titan's region) to a fire service in Tarian's.
OWNER, ADDRESSED = "LA-MTYDFIL", "HMRC"
NORTH, NORTH_ADDRESSED = "NWP", "FRS-SWALES"
HELD = "SMARTWATER"  # its policy needs a release, so that its dispatch is held

PARTIES: Mapping[Role, Mapping[Position, str]] = {
    Role.ORIGINATOR: dict(zip(Position, (OWNER, OWNER, "SWP", ADDRESSED, ADDRESSED, NORTH), strict=True)),
    Role.AGENCY: dict(zip(Position, (OWNER, OWNER, "FRS-SWALES", ADDRESSED, ADDRESSED, "EA"), strict=True)),
    Role.COORDINATOR: dict(zip(Position, ("TARIAN", "TARIAN", "WMROCU", "TARIAN", "TARIAN", "TITAN"), strict=True)),
    **{role: dict.fromkeys(Position, "GAIN") for role in (Role.NATIONAL, Role.AUDITOR, Role.ADMINISTRATOR)},
}

_REACHED: Mapping[Relation, frozenset[Position]] = {
    Relation.OWN: frozenset({Position.OWNER, Position.COLLEAGUE}),
    Relation.ADDRESSED: frozenset({Position.ADDRESSED, Position.PARTNER}),
    Relation.REGION: frozenset({Position.OWNER, Position.COLLEAGUE}),
    Relation.ALL: frozenset(Position),
    Relation.SELF: frozenset(Position),
}

# One of those who reach a row is a person, the other a key: what the one may the other may, and no more.
PEOPLE = frozenset({Position.COLLEAGUE, Position.PARTNER})


@dataclass(frozen=True, slots=True)
class Caller:
    """A key of its own, used from an address of its own, and a browser with a session: of that key, or of a person."""

    role: Role
    position: Position
    party: str
    key: str
    client: httpx.AsyncClient
    browser: httpx.AsyncClient

    def reaches(self, relation: Relation) -> bool:
        """Whether the rows that its target names are among those of this relation."""
        return self.position in _REACHED[relation]

    @property
    def is_person(self) -> bool:
        """Whether the browser is somebody's with an account, who acts in this role."""
        return self.position in PEOPLE

    @property
    def asks_north(self) -> bool:
        """Whether it asks for the referral of the north."""
        return self.role is Role.COORDINATOR and self.position in (Position.ADDRESSED, Position.PARTNER)

    def __str__(self) -> str:
        return f"{self.role} · {self.position} ({self.party})"


@dataclass(frozen=True, slots=True)
class Target:
    """A referral, its originator, its dispatch, one held, a key, a cover, a duplicate, a batch, a draft, a consent."""

    referral: str
    reference: str
    dispatch: str
    held: str
    key: str
    cover: str
    duplicate: str
    batch: str
    draft: str
    originator: str = ""
    consent: str = ""


def nothing() -> Target:
    """The ids of what does not exist."""
    made, item, held, cover, pair, batch, draft, consent = (str(uuid4()) for _ in range(8))
    return Target(made, "GAIN-0000-000000", item, held, "0" * 12, cover, pair, batch, draft, consent=consent)


@dataclass(frozen=True, slots=True)
class Ask:
    """How a route is asked. `id` names the target's field in the path; `prepared` what is done to the target before.

    `shows`: what a list shows of a target, of which one that is not to be seen must hold nothing. `each`: a batch,
    answered per item. `lines`: a file of NDJSON. `counts`: figures, in which another's rows must not be counted.
    """

    id: str = ""
    query: str = ""
    body: Callable[[Target], Document] | None = None
    form: Callable[[Caller], dict[str, str]] | None = None
    lines: Callable[[], bytes] | None = None
    prepared: str = ""
    shows: str = ""
    each: bool = False
    counts: bool = False
    page: bool = False
    status: int = 0


# By a region that nobody plays: what it covers shows in no cell.
COVER = text("""
    INSERT INTO cover (region, by_region, starts_on, ends_on, granted_party, granted_by)
    VALUES (:region, 'SEROCU', current_date, current_date + 1, :region, 'scene') RETURNING id
""")


def subject_of(owner: str, number: int) -> Document:
    """Each its own: the pairs of the scene are those that it makes."""
    return {"kind": "vehicle", "identifiers": [{"type": "vehicle_registration", "value": f"{owner} {number}"}]}


def _searched(caller: Caller) -> dict[str, str]:
    """The form that looks for the first target."""
    owner = NORTH if caller.asks_north else OWNER
    [identifier] = subject_of(owner, 0)["identifiers"]
    return {"identifier": identifier["type"], "value": identifier["value"], "purpose": "coordination"}


def _reason(_: Target) -> Document:
    return {"reason": "Not to go on."}


def consent_body(_: Target) -> Document:
    return {"recipient_outside": "An office", "reason": "It decides on his licence."}


def _asking(caller: Caller) -> dict[str, str]:
    """The form that asks the body which has answered what this caller asks for."""
    return {"agency": NORTH_ADDRESSED if caller.asks_north else ADDRESSED, "outside": "An office", "reason": "Why."}


def _deed(id: str, prepared: str = "", **form: str) -> tuple[Ask, Ask]:
    """The page before a deed, and the deed."""
    asked = Ask(id, page=True, prepared=prepared)
    return asked, Ask(id, page=True, prepared=prepared, form=lambda _: form, status=303)


_DEEDS: Mapping[str, tuple[Ask, Ask]] = {
    "/dispatches/{id}/cancel": _deed("dispatch", reason="Not to go on."),
    "/dispatches/{id}/chase": _deed("dispatch"),
    "/dispatches/{id}/extend": _deed("dispatch", **{"until-day": "1", "until-month": "7", "until-year": "2090"}),
    "/dispatches/{id}/redeliver": _deed("dispatch", "dispatch cancelled"),
    "/dispatches/{id}/noted": _deed("dispatch", "alert", reason="Known."),
    "/dispatches/{id}/release": _deed("held"),
    "/consents/{id}/chase": _deed("consent", "consent"),
    "/consents/{id}/withdraw": _deed("consent", "consent"),
    "/my-referrals/consents/{id}/withdraw": _deed("consent", "consent"),
    "/referrals/{id}/addressees": _deed("referral", agencies="DWP"),
    "/referrals/{id}/hold": _deed("referral", reason="Wait."),
    "/referrals/{id}/reject": _deed("referral", reason="Not to go on."),
    "/referrals/{id}/release": _deed("referral", "held"),
    "/referrals/{id}/reopen": _deed("referral", "completed", agencies="DWP"),
}


REQUESTS: Mapping[tuple[str, str], Ask] = {
    ("GET", "/"): Ask(page=True, shows="reference"),
    ("GET", "/live"): Ask(page=True, shows="reference"),
    ("GET", "/cover"): Ask(page=True),
    ("POST", "/cover"): Ask(page=True, form=lambda _: {"from-day": "never"}, status=422),
    ("GET", "/cover/{id}/end"): Ask("cover", page=True),
    ("POST", "/cover/{id}/end"): Ask("cover", page=True, form=lambda _: {}, status=303),
    ("GET", "/duplicates/{id}"): Ask("duplicate", page=True, prepared="duplicate"),
    ("POST", "/duplicates/{id}"): Ask(
        "duplicate",
        page=True,
        prepared="duplicate",
        form=lambda _: {"decision": "same", "reason": "Known to both."},
        status=303,
    ),
    **{
        (method, f"{place}/{{id}}/consent"): Ask(
            "referral",
            page=True,
            prepared="answered",
            form=_asking if method == "POST" else None,
            status=303 if method == "POST" else 0,
        )
        for place in ("/referrals", "/my-referrals")
        for method in ("GET", "POST")
    },
    ("GET", "/my-inbox/consents/{id}"): Ask("consent", page=True, prepared="consent"),
    ("POST", "/my-inbox/consents/{id}"): Ask(
        "consent", page=True, prepared="consent", form=lambda _: {"decision": "given"}, status=303
    ),
    ("POST", "/v1/referrals/{id}/dispatches/{dispatch_id}/consents"): Ask(
        "referral", body=consent_body, prepared="answered"
    ),
    ("GET", "/v1/referrals/{id}/consents"): Ask("referral"),
    ("GET", "/v1/inbox/consents"): Ask(query="limit=200", shows="consent"),
    ("POST", "/v1/consents/{id}/decision"): Ask("consent", body=lambda _: {"decision": "given"}, prepared="consent"),
    ("POST", "/v1/consents/{id}/withdrawal"): Ask("consent", prepared="consent"),
    ("POST", "/v1/consents/{id}/chase"): Ask("consent", prepared="consent"),
    ("GET", "/handover"): Ask(page=True),
    ("POST", "/handover"): Ask(page=True, form=lambda _: {"words": "Chase them."}, status=303),
    ("GET", "/needs.csv"): Ask(page=True),
    ("GET", "/queues"): Ask(page=True),
    ("GET", "/queues/live"): Ask(page=True),
    ("GET", "/queues/{code}"): Ask(page=True),
    ("GET", "/queues/{agency}/chase"): Ask(page=True),
    ("POST", "/queues/{agency}/chase"): Ask(page=True, form=lambda _: {}, status=303),
    ("GET", "/referrals/{id}"): Ask("referral", page=True),
    ("GET", "/search"): Ask(page=True),
    ("POST", "/search"): Ask(page=True, form=_searched, shows="reference"),
    **{("GET", path): asked for path, (asked, _) in _DEEDS.items()},
    **{("POST", path): done for path, (_, done) in _DEEDS.items()},
    ("GET", "/log"): Ask(page=True),
    ("POST", "/log"): Ask(page=True, form=lambda _: {"party": "SWP"}, status=303),
    ("GET", "/log/{sequence}"): Ask(page=True),
    ("GET", "/log/{sequence}/proof"): Ask(page=True),
    ("GET", "/my-inbox"): Ask(page=True, shows="reference"),
    ("GET", "/my-inbox/live"): Ask(page=True, query="since=2026-01-01T00:00:00Z"),
    ("GET", "/my-inbox/no-hits"): Ask(page=True, shows="reference", status=422),
    ("POST", "/my-inbox/no-hits"): Ask(page=True, form=lambda _: {}, status=303),
    ("GET", "/my-inbox/no-hits/results"): Ask(page=True),
    ("GET", "/my-inbox/{id}"): Ask("dispatch", page=True),
    ("POST", "/my-inbox/{id}/acknowledgement"): Ask("dispatch", page=True, form=lambda _: {}, status=303),
    ("GET", "/my-inbox/{id}/answer"): Ask("dispatch", page=True, query="outcome=hit"),
    ("POST", "/my-inbox/{id}/answer"): Ask("dispatch", page=True, form=lambda _: {"outcome": "no_hit"}, status=303),
    ("GET", "/my-inbox/{id}/answer/check"): Ask("dispatch", page=True, status=303),  # no draft: to the form
    ("POST", "/my-inbox/{id}/answer/check"): Ask("dispatch", page=True, form=lambda _: {"version": "1"}, status=303),
    ("POST", "/my-inbox/{id}/colleague"): Ask("dispatch", page=True, form=lambda _: {"colleague": ""}, status=303),
    ("GET", "/my-policy"): Ask(page=True),
    ("GET", "/my-policy/change"): Ask(page=True),
    ("POST", "/my-policy/change"): Ask(page=True, form=lambda _: {"accepts": "all", "working_days": "1"}, status=303),
    **{
        ("GET", f"/reports{path}"): Ask(page=True)
        for path in (
            "",
            *(f"/{report}{form}" for report in ("agencies", "outcomes", "referrals") for form in ("", ".csv")),
        )
    },
    # A key has no account: there is nothing of its own to change. tests/app/test_accounts.py asks these as people.
    ("GET", "/account"): Ask(page=True),
    ("GET", "/account/purpose"): Ask(page=True),
    ("POST", "/account/purpose"): Ask(page=True, form=lambda _: {}, status=422),
    ("GET", "/account/confirm"): Ask(page=True),
    ("POST", "/account/confirm"): Ask(page=True, form=lambda _: {}, status=422),
    **{
        (method, f"/account/{part}"): Ask(page=True, form=(lambda _: {}) if method == "POST" else None, status=303)
        for part in ("password", "authenticator", "recovery-codes")
        for method in ("GET", "POST")
    },
    ("GET", "/account/confirm/provider"): Ask(page=True, status=303),
    ("POST", "/account/role"): Ask(page=True, form=lambda _: {"role": "auditor"}, status=303),
    ("POST", "/account/sign-out-everywhere"): Ask(page=True, form=lambda _: {}, status=303),
    ("GET", "/my-referrals"): Ask(page=True, shows="reference"),
    ("GET", "/my-referrals/new"): Ask(page=True, shows="draft"),
    ("POST", "/my-referrals/new"): Ask(page=True, form=lambda _: {}, status=303),
    ("GET", "/my-referrals/new/{id}"): Ask("draft", page=True),
    ("GET", "/my-referrals/new/{id}/check"): Ask("draft", page=True, status=303),
    ("POST", "/my-referrals/new/{id}/check"): Ask("draft", page=True, form=lambda _: {}, status=303),
    ("GET", "/my-referrals/new/{id}/discard"): Ask("draft", page=True),
    ("POST", "/my-referrals/new/{id}/discard"): Ask("draft", page=True, form=lambda _: {}, status=303),
    ("GET", "/my-referrals/new/{id}/{slug}"): Ask("draft", page=True),
    ("POST", "/my-referrals/new/{id}/{slug}"): Ask("draft", page=True, form=lambda _: {}, status=303),
    ("GET", "/my-referrals/upload"): Ask(page=True, shows="batch"),
    # A form without a file is refused as such: tests/app/test_my_referrals_upload.py uploads.
    ("POST", "/my-referrals/upload"): Ask(page=True, form=lambda _: {}, status=415),
    ("GET", "/my-referrals/upload/template.csv"): Ask(page=True),
    ("GET", "/my-referrals/uploads/{id}"): Ask("batch", page=True),
    ("GET", "/my-referrals/uploads/{id}/progress"): Ask("batch", page=True),
    ("GET", "/my-referrals/{id}"): Ask("referral", page=True),
    ("GET", "/my-referrals/{id}/receipt"): Ask("referral", page=True),
    ("GET", "/my-referrals/{id}/cancel"): Ask("referral", page=True),
    ("POST", "/my-referrals/{id}/cancel"): Ask("referral", page=True, form=lambda _: {"reason": "Over."}, status=303),
    ("GET", "/my-referrals/{id}/outcome"): Ask("referral", page=True),
    ("POST", "/my-referrals/{id}/outcome"): Ask(
        "referral", page=True, form=lambda _: {"acted_on": "20 11 2026", "arrests": "1"}, status=303
    ),
    ("GET", "/my-referrals/{id}/product"): Ask("referral", page=True),
    ("GET", "/my-referrals/{id}/product.pdf"): Ask("referral", page=True),
    ("GET", "/my-referrals/{id}/reply"): Ask("referral", page=True),
    ("POST", "/my-referrals/{id}/reply"): Ask(
        "referral",
        page=True,
        prepared="question",
        form=lambda _: {"agency": "HMRC", "text": "The second address."},
        status=303,
    ),
    # These end the session that the browser has.
    ("GET", "/sign-in"): Ask(),
    ("POST", "/sign-in"): Ask(page=True, form=lambda caller: {"key": caller.key}, status=303),
    ("GET", "/sign-in/key"): Ask(),
    # Of a sign-in that nobody has begun, the rest leads to its beginning.
    ("GET", "/sign-in/code"): Ask(page=True, status=303),
    ("POST", "/sign-in/code"): Ask(page=True, form=lambda _: {"code": "123456"}, status=303),
    ("GET", "/sign-in/role"): Ask(page=True, status=303),
    ("POST", "/sign-in/role"): Ask(page=True, form=lambda _: {"role": "auditor"}, status=303),
    ("GET", "/sign-in/set-up"): Ask(),
    ("POST", "/sign-in/set-up"): Ask(page=True, form=lambda caller: {"username": str(caller), "code": "X"}, status=401),
    ("GET", "/sign-in/set-up/password"): Ask(page=True, status=303),
    ("POST", "/sign-in/set-up/password"): Ask(page=True, form=lambda _: {"password": "X"}, status=303),
    ("GET", "/sign-in/set-up/authenticator"): Ask(page=True, status=303),
    ("POST", "/sign-in/set-up/authenticator"): Ask(page=True, form=lambda _: {"code": "123456"}, status=303),
    ("GET", "/sign-in/provider"): Ask(page=True, status=404),
    ("GET", "/sign-in/provider/answer"): Ask(page=True, status=401),
    ("POST", "/sign-out"): Ask(page=True, form=lambda _: {}, status=303),
    ("GET", "/metrics"): Ask(),
    ("GET", "/.well-known/jwks.json"): Ask(),
    ("POST", "/v1/token"): Ask(form=lambda _: {"grant_type": "client_credentials"}),
    ("POST", "/v1/token/revoke"): Ask(form=lambda _: {"token": "none.of.ours"}),
    ("GET", "/v1/audit/checkpoint"): Ask(),
    ("GET", "/v1/audit/entries"): Ask(),
    ("GET", "/v1/audit/proofs/consistency"): Ask(query="from=1&to=2"),
    ("GET", "/v1/audit/proofs/inclusion"): Ask(query="entry=0&size=1"),
    ("POST", "/v1/dispatches/{id}/cancel"): Ask("dispatch", body=_reason),
    ("POST", "/v1/dispatches/{id}/chase"): Ask("dispatch"),
    ("POST", "/v1/dispatches/{id}/extend"): Ask("dispatch", body=lambda _: {"due_at": "2090-01-01T00:00:00Z"}),
    ("POST", "/v1/dispatches/{id}/noted"): Ask("dispatch", body=_reason, prepared="alert"),
    ("POST", "/v1/dispatches/{id}/redeliver"): Ask("dispatch", prepared="dispatch cancelled"),
    ("POST", "/v1/dispatches/{id}/release"): Ask("held"),
    ("GET", "/v1/duplicates"): Ask(query="limit=200", shows="duplicate"),
    ("POST", "/v1/duplicates/{id}/settle"): Ask(
        "duplicate", body=lambda _: {"decision": "same", "reason": "Known to both."}, prepared="duplicate"
    ),
    ("GET", "/v1/inbox"): Ask(query="limit=500", shows="dispatch"),
    ("POST", "/v1/inbox/acknowledgements"): Ask(body=lambda target: {"ids": [target.dispatch]}, each=True),
    ("POST", "/v1/inbox/claims"): Ask(body=lambda _: {"limit": 500, "lease_seconds": 10}),
    ("POST", "/v1/inbox/responses"): Ask(
        body=lambda target: {"items": [{"id": target.dispatch, "outcome": "no_hit"}]}, each=True
    ),
    ("GET", "/v1/inbox/{id}"): Ask("dispatch"),
    ("POST", "/v1/inbox/{id}/acknowledgement"): Ask("dispatch"),
    ("POST", "/v1/inbox/{id}/response"): Ask("dispatch", body=lambda _: {"outcome": "no_hit"}),
    ("GET", "/v1/keys"): Ask(),
    ("POST", "/v1/keys"): Ask(body=lambda _: {"party": "EA"}),
    ("GET", "/v1/keys/{id}"): Ask("key"),
    ("POST", "/v1/keys/{id}/revocation"): Ask("key"),
    ("POST", "/v1/keys/{id}/rotation"): Ask("key"),
    ("GET", "/v1/policy"): Ask(),
    ("PUT", "/v1/policy"): Ask(body=lambda _: {"working_days": [1, 2]}),
    ("GET", "/v1/queues"): Ask(counts=True),
    ("GET", "/v1/referral-batches"): Ask(shows="batch"),
    ("POST", "/v1/referral-batches"): Ask(lines=lambda: json.dumps(referral()).encode()),
    ("GET", "/v1/referral-batches/template.csv"): Ask(),
    ("GET", "/v1/referral-batches/{id}"): Ask("batch"),
    ("GET", "/v1/referral-batches/{id}/errors"): Ask("batch"),
    ("GET", "/v1/referrals"): Ask(query="limit=200", shows="referral"),
    ("POST", "/v1/referrals"): Ask(body=lambda _: referral(addressees=["DWP"])),
    ("GET", "/v1/referrals/{id}"): Ask("referral"),
    ("POST", "/v1/referrals/{id}/addressees"): Ask("referral", body=lambda _: {"addressees": ["DWP"]}),
    ("POST", "/v1/referrals/{id}/cancel"): Ask("referral", body=_reason),
    ("GET", "/v1/referrals/{id}/duplicates"): Ask("referral"),
    ("GET", "/v1/referrals/{id}/events"): Ask("referral"),
    ("POST", "/v1/referrals/{id}/hold"): Ask("referral", body=_reason),
    ("POST", "/v1/referrals/{id}/legal-hold"): Ask("referral", body=_reason),
    ("POST", "/v1/referrals/{id}/legal-hold/lift"): Ask("referral", body=_reason, prepared="legal hold"),
    ("POST", "/v1/referrals/{id}/messages"): Ask(
        "referral",
        body=lambda target: {"dispatch_id": target.dispatch, "text": "The second address."},
        prepared="question",
    ),
    ("POST", "/v1/referrals/{id}/outcome"): Ask("referral", body=lambda _: {"acted_on": "2026-11-20", "arrests": 1}),
    ("GET", "/v1/referrals/{id}/outcomes"): Ask("referral"),
    ("GET", "/v1/referrals/{id}/product"): Ask("referral"),
    ("POST", "/v1/referrals/{id}/reject"): Ask("referral", body=_reason),
    ("POST", "/v1/referrals/{id}/release"): Ask("referral", prepared="held"),
    ("GET", "/v1/referrals/{id}/retention"): Ask("referral"),
    ("GET", "/v1/referrals/{id}/responses"): Ask("referral"),
    ("GET", "/v1/reports/agencies"): Ask(),
    ("GET", "/v1/reports/outcomes"): Ask(),
    ("GET", "/v1/reports/referrals"): Ask(shows="originator"),
}
"""Every route that is not open to anybody. A route that is missing here makes the matrix fail."""
