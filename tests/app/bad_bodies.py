"""Bodies that are none of the contract's: what is not acceptable, not JSON, no object; and what holds them all."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.acts import Document
from tests.conftest import referral

CANARY = "Quillfeather"
"""Stands in every bad value, and may stand nowhere else afterwards."""

JSON = {"Content-Type": "application/json"}


def changed(path: str, value: Any) -> Document:
    """The example with one value set, by dotted path; a missing list item is appended."""
    body = referral()
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    node: Any = body
    for step in steps:
        node = node[step]
    node[last] = value
    return body


def without(path: str) -> Document:
    """The example with one value left out, by dotted path."""
    body = referral()
    *steps, last = path.split(".")
    node: Any = body
    for step in steps:
        node = node[step]
    del node[last]
    return body


def raw(path: str, text_: str) -> bytes:
    """The example with this JSON text, which Python could not write, in the place of one value."""
    return json.dumps(changed(path, "@@")).replace('"@@"', text_).encode()


# Not tomorrow: midnight may pass between this line and its request.
IN_TWO_DAYS = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
BARE: Document = {"kind": "person"}
NAMELESS = "no-identifying-detail"
INVALID = "invalid-body"

CODES = [
    "subject.kind", "subject.identifiers.0.type", "criterion", "crime_types.0", "priority", "warnings.0",
    "legal_basis", "marking", "grading.assessment", "handling.code",
]  # fmt: skip
PLACES = [
    "", "subject.", "subject.aliases.0.", "subject.addresses.0.", "subject.identifiers.0.", "ocg.", "contact.",
    "grading.", "handling.",
]  # fmt: skip
REQUIRED = [
    "subject", "subject.kind", "criterion", "crime_types", "priority", "purpose", "legal_basis", "marking", "grading",
    "grading.source", "grading.assessment", "handling", "handling.code",
]  # fmt: skip
TEXTS = [
    "subject.family_name", "subject.given_names", "subject.addresses.0.lines.0", "subject.addresses.0.postcode",
    "subject.identifiers.0.value", "ocg.reference", "ocg.band", "purpose", "information_sought", "operation_name",
    "contact.name", "client_reference",
]  # fmt: skip
LISTS = [
    "subject.aliases", "subject.addresses", "subject.addresses.0.lines", "subject.identifiers", "crime_types",
    "warnings", "handling.conditions", "addressees",
]  # fmt: skip
OBJECTS = ["subject", "ocg", "contact", "grading", "handling"]
NUMBERS = ["ocg.score", "ocg.morile_score", "grading.source"]


def unacceptable() -> dict[str, tuple[Document, str]]:
    """Bodies that are JSON and say what is not acceptable: name -> body, problem type."""
    table: dict[str, tuple[Document, str]] = {}
    for path in CODES:
        table[f"unknown code in {path}"] = changed(path, CANARY), INVALID
        table[f"number for the code {path}"] = changed(path, 1), INVALID
    table["code in other letters"] = changed("priority", "Routine"), INVALID
    table["unknown condition"] = changed("handling", {"code": "C", "conditions": [CANARY]}), INVALID
    for place in PLACES:
        table[f"unknown field in {place or 'the body'}"] = changed(f"{place}{CANARY}", CANARY), INVALID
    for path in REQUIRED:
        table[f"{path} is missing"] = without(path), INVALID
        table[f"{path} is null"] = changed(path, None), INVALID
    for path in TEXTS:
        table[f"blank {path}"] = changed(path, " \t\n\u00a0"), INVALID
        table[f"empty {path}"] = changed(path, ""), INVALID
        table[f"too long {path}"] = changed(path, CANARY * 1_000), INVALID
        table[f"number in {path}"] = changed(path, 19_840_307), INVALID
        table[f"list in {path}"] = changed(path, [CANARY]), INVALID
    for path in LISTS:
        table[f"text for the list {path}"] = changed(path, CANARY), INVALID
        table[f"null in the list {path}"] = changed(path, [None]), INVALID
        table[f"object for the list {path}"] = changed(path, {"0": CANARY}), INVALID
    for path in OBJECTS:
        table[f"text for the object {path}"] = changed(path, CANARY), INVALID
        table[f"list for the object {path}"] = changed(path, [[CANARY, CANARY]]), INVALID
        table[f"empty object {path}"] = changed(path, {}), INVALID
    for path in NUMBERS:
        table[f"text for the number {path}"] = changed(path, "2"), INVALID
        table[f"boolean for the number {path}"] = changed(path, True), INVALID
        table[f"negative {path}"] = changed(path, -1), INVALID
        table[f"huge {path}"] = changed(path, 10**30), INVALID
    table["source 4"] = changed("grading.source", 4), INVALID
    table["half a source"] = changed("grading.source", 1.5), INVALID
    table["half a score"] = changed("ocg.score", 36.5), INVALID
    table["four as 4.0"] = changed("grading.source", 4.0), INVALID
    table["a score of 1e300"] = changed("ocg.score", 1e300), INVALID
    table["empty crime types"] = changed("crime_types", []), INVALID
    table["empty addressees"] = changed("addressees", []), INVALID
    table["empty lines"] = changed("subject.addresses.0", {"lines": []}), INVALID
    table["empty alias"] = changed("subject.aliases.0", {}), INVALID
    for path, value in {"crime_types": "fraud", "warnings": "violent", "addressees": "HMRC"}.items():
        table[f"twice the same in {path}"] = changed(path, [value, value]), INVALID
    table["twice the same condition"] = changed("handling", {"code": "C", "conditions": ["A1", "A1"]}), INVALID
    table["C without conditions"] = changed("handling", {"code": "C", "conditions": []}), "handling-conditions-required"
    table["C with none given"] = changed("handling", {"code": "C"}), "handling-conditions-required"
    table["P with a condition"] = changed("handling", {"code": "P", "conditions": ["A1"]}), INVALID
    for code in ["XX", CANARY.upper(), "HMRC2", "LA-NOWHERE"]:
        table[f"unknown addressee {code}"] = changed("addressees", ["HMRC", code]), "unknown-addressee"
    for code in ["SWP", "GWP", "MPS", "TARIAN", "GAIN"]:
        table[f"{code} as an addressee"] = changed("addressees", [code]), "unknown-addressee"
    table["addressee in small letters"] = changed("addressees", ["hmrc"]), INVALID
    table["addressee with a space"] = changed("addressees", ["HMRC "]), INVALID
    table["addressee with a line end"] = changed("addressees", ["HMRC\n"]), INVALID
    table["birth in two days"] = changed("subject.date_of_birth", IN_TWO_DAYS), "birth-date-in-future"
    table["birth in 9999"] = changed("subject.date_of_birth", "9999-12-31"), "birth-date-in-future"
    for born in ["1984-02-30", "1984-13-01", "07/03/1984", "19840307", "1984-3-7", "1984-03-07T00:00:00Z", "0000-01-01",
                 "1984-03-07 ", "1066-10-14", "１９８４-03-07"]:  # noqa: RUF001  # fmt: skip
        table[f"birth on {born}"] = changed("subject.date_of_birth", born), INVALID
    for number in [19_840_307, 447_465_600, 0, 5.5, True]:
        table[f"birth as the number {number}"] = changed("subject.date_of_birth", number), INVALID
    table["nothing identifies"] = changed("subject", BARE), NAMELESS
    table["a birth date identifies nobody"] = changed("subject", {**BARE, "date_of_birth": "1984-03-07"}), NAMELESS
    table["given names identify nobody"] = changed("subject", {**BARE, "given_names": "Rhys"}), NAMELESS
    table["empty lists identify nobody"] = changed("subject", {**BARE, "aliases": [], "identifiers": []}), NAMELESS
    for kind in ["organisation", "premises", "vehicle"]:
        table[f"nothing identifies the {kind}"] = changed("subject", {"kind": kind}), NAMELESS
        table[f"a family name for the {kind}"] = changed("subject", {"kind": kind, "family_name": CANARY}), INVALID
    table["a name for a person"] = changed("subject", {**BARE, "name": CANARY}), INVALID
    table["purpose of 2,001 characters"] = changed("purpose", "x" * 2_001), INVALID
    table["email that is none"] = changed("contact.email", CANARY), INVALID
    table["phone that is none"] = changed("contact.phone", CANARY), INVALID
    table["more addresses than fifty"] = changed("subject.addresses", [{"postcode": "CF48 1AA"}] * 51), INVALID
    table["more addressees than there are"] = changed("addressees", [f"A{n}" for n in range(101)]), INVALID
    return table


SECRET_SPELLINGS = [
    "SECRET", "TOP SECRET", "secret", "Secret", "top secret", "TOP-SECRET", "TOP_SECRET", "TopSecret", " SECRET ",
    "UK SECRET", "SECRET - UK EYES ONLY", "OFFICIAL-SECRET", "S E C R E T", "s.e.c.r.e.t", "sécret",
    "\uff33\uff25\uff23\uff32\uff25\uff34", "SE\u200bCRET",
]  # fmt: skip

VALID = json.dumps(referral()).encode()
NOT_JSON = {
    "NaN": raw("ocg.morile_score", "NaN"),
    "Infinity": raw("ocg.morile_score", "Infinity"),
    "minus Infinity": raw("ocg.morile_score", "-Infinity"),
    "1e400": raw("ocg.morile_score", "1e400"),
    "a number of a million digits": raw("ocg.score", "1" * 100_000),
    "a key twice": VALID[:-1] + b', "marking": "SECRET"}',
    "a key twice, deep": raw("grading", '{"source": 1, "source": 2, "assessment": "B"}'),
    "a key twice, once escaped": VALID[:-1] + b', "m\\u0061rking": "OFFICIAL"}',
    "NUL": raw("purpose", f'"{CANARY}\\u0000"'),
    "NUL in a key": VALID[:-1] + b', "a\\u0000": 1}',
    "lone surrogate": raw("purpose", f'"{CANARY}\\ud800"'),
    "lone low surrogate": raw("purpose", f'"\\udfff{CANARY}"'),
    "too deep": raw("subject.aliases", "[" * 40 + "]" * 40),
    "far too deep": b"[" * 100_000,
    "Latin-1": json.dumps(changed("purpose", "Gwyl é"), ensure_ascii=False).encode("latin-1"),
    "UTF-16": json.dumps(referral()).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + VALID,
    "overlong UTF-8": raw("purpose", '"@"').replace(b'"@"', b'"\xc0\xaf"'),
    "truncated": VALID[:-20],
    "two documents": VALID + VALID,
    "trailing comma": VALID[:-1] + b",}",
    "comment": VALID + b" // " + CANARY.encode(),
    "single quotes": VALID.replace(b'"', b"'"),
    "bare word": CANARY.encode(),
    "space": b"   ",
}
NOT_OBJECTS = {
    "array": b"[]",
    "array of one": b"[" + VALID + b"]",
    "text": b'"x"',
    "number": b"7",
    "null": b"null",
    "true": b"true",
}

UNACCEPTABLE = unacceptable()


def _any_body() -> dict[str, tuple[bytes, str]]:
    table = {
        name: (json.dumps(body).encode(), "application/json") for name, (body, _) in list(UNACCEPTABLE.items())[::9]
    }
    table |= {name: (body, "application/json") for name, body in NOT_JSON.items()}
    table["a good body"] = (VALID, "application/json")
    table["a secret"] = (json.dumps(referral(marking="SECRET")).encode(), "application/json")
    table["no JSON by its type"] = (VALID, "text/plain")
    table["too large"] = (VALID + b" " * 300_000, "application/json")
    table["nothing"] = (b"", "application/json")
    return table


ANY_BODY = _any_body()
