"""Synthetic referrals: the contract's example with other names, to twenty bodies."""

from typing import Any

from app.access.policy import Role
from app.access.principal import behalf_of
from benchmarks.load import KEY
from benchmarks.wire import request

AGENCIES = "HMRC DWP IE BF HMPPS HMPO NRW NTS DVSA DVLA GLAA INSS CH FCA NCA SIA HSE NHSCFA MHRA NFCU".split()
"""Twenty addressees that receive referrals."""

ORIGINATOR = "SWP"
REGION = "TARIAN"
AS_ORIGINATOR = behalf_of(Role.ORIGINATOR, [ORIGINATOR])
"""As a gateway stores its referrals."""

ANSWER: dict[str, Any] = {
    "outcome": "hit",
    "summary": "Keeper of a van since March 2024.",
    "facts": [{"kind": "vehicle", "text": "CX14 ABC, a grey van."}],
    "grading": {"source": 1, "assessment": "A"},
    "handling": {"code": "P"},
}


def referral(number: int) -> dict[str, Any]:
    """The body of a referral; another number is another subject."""
    return {
        "subject": {
            "kind": "person",
            "family_name": f"Quill-{number:06d}",
            "given_names": "Rhys Alun",
            "date_of_birth": "1984-03-07",
            "aliases": [{"family_name": f"Quille-{number:06d}", "given_names": "Rhys"}],
            "addresses": [{"lines": [f"Plot {number % 90 + 1}, Heol y Mynydd"], "postcode": "CF48 1AA"}],
            "identifiers": [
                {"type": "vehicle_registration", "value": f"CX{number % 90 + 10} {_letters(number // 90)}"}
            ],
        },
        "ocg": {"reference": "SWP-0142", "band": "4b", "score": 37},
        "criterion": "mapped_ocg",
        "crime_types": ["drug_trafficking", "modern_slavery"],
        "priority": "routine",
        "purpose": "Identify vehicles, employment and premises linked to the subject before a day of action.",
        "information_sought": "Vehicles kept and driven since 2024; current employer.",
        "warnings": ["violent"],
        "operation_name": "Example",
        "contact": {"name": "Intelligence desk", "email": "desk@example.invalid"},
        "legal_basis": "common_law_policing_purpose",
        "marking": "OFFICIAL-SENSITIVE",
        "grading": {"source": 2, "assessment": "B"},
        "handling": {"code": "P", "conditions": []},
        "addressees": AGENCIES,
        "client_reference": f"SWP/2026/{number}",
    }


def _letters(number: int) -> str:
    return "".join(chr(ord("A") + number // 26**place % 26) for place in (2, 1, 0))


def posts(key: str, number: int = 5000) -> list[bytes]:
    """Requests that submit referrals, each sending under an `Idempotency-Key` of its own."""
    header = f"idempotency-key: {KEY.decode()}\r\n"
    return [request("POST", "/v1/referrals", key, referral(n), header) for n in range(number)]
