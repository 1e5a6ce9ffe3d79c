"""What a file says is what comes out of it, however it is cut into parts on its way and whatever its cells hold."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import Problem
from app.referrals.batches.check import Row
from app.referrals.batches.columns import IDENTIFIERS, LISTS, NUMBERS, REQUIRED, TEXTS, Columns, british, template
from app.referrals.batches.lines import Lines
from app.referrals.batches.reading import Read
from app.referrals.batches.sheet import Sheet
from tests.conftest import referral

LONGEST = 10_000
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine breaks no rule
# What a cell may hold and still be the same: no semicolons, for lists, and no space around it.
VALUE = (
    st.text(st.characters(codec="utf-8", exclude_characters="\x00;\r"), min_size=1, max_size=40)
    .map(str.strip)
    .filter(bool)
)


def whole(reader: Sheet | Lines, body: bytes, cuts: Sequence[int]) -> list[Read]:
    """All rows of a body that comes in parts."""
    bounds = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    found = [read for begin, end in pairwise(bounds) for read in reader.feed(body[begin:end])]
    return [*found, *reader.end()]


def written(header: Sequence[str], cells: Sequence[Sequence[str]], *, mark: bool, crlf: bool) -> bytes:
    """A CSV file as a spreadsheet writes it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n" if crlf else "\n").writerows([header, *cells])
    return (("\ufeff" if mark else "") + text.getvalue()).encode()


def flat(document: dict[str, Any]) -> dict[str, str]:
    """The cells of a document: the other way about, in words of its own."""
    cells = {}
    for name, path in {**TEXTS, **NUMBERS, **LISTS}.items():
        value: Any = document
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, list):
            cells[name] = ";".join(value)
        elif value is not None:
            cells[name] = str(value)
    for number, alias in enumerate(document["subject"].get("aliases", []), 1):
        cells |= {f"alias_{number}_{part}": value for part, value in alias.items()}
    for number, address in enumerate(document["subject"].get("addresses", []), 1):
        cells[f"address_{number}"] = "; ".join(address["lines"])
        cells[f"postcode_{number}"] = address["postcode"]
    for name in IDENTIFIERS:
        given = [one["value"] for one in document["subject"].get("identifiers", []) if one["type"] == name]
        if given:
            cells[name] = ";".join(given)
    return cells


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Sound referrals of persons, of all that a row can say."""
    lines = st.lists(VALUE, min_size=1, max_size=3)
    postcode = st.from_regex(r"[A-Z]{2}[0-9]{2}", fullmatch=True)
    subject = {
        "kind": "person",
        "family_name": draw(VALUE),
        "date_of_birth": draw(st.dates(date(1900, 1, 1), date(2020, 1, 1))).isoformat(),
        "aliases": draw(st.lists(st.fixed_dictionaries({"family_name": VALUE, "given_names": VALUE}), max_size=3)),
        "addresses": draw(st.lists(st.fixed_dictionaries({"lines": lines, "postcode": postcode}), max_size=3)),
        "identifiers": [
            {"type": kind, "value": f"{number:04d}"}
            for kind in IDENTIFIERS
            for number in draw(st.lists(st.integers(0, 9999), max_size=2))
        ],
    }
    changed = referral(
        subject={name: value for name, value in subject.items() if value},
        purpose=draw(VALUE),
        client_reference=draw(VALUE),
        ocg={"reference": draw(VALUE), "score": draw(st.integers(0, 10_000))},
        handling={"code": "C", "conditions": ["A1", "S2"]},
        contact={"name": draw(VALUE), "email": "desk@example.invalid"},
        crime_types=draw(st.permutations(["fraud", "firearms", "tax_evasion"])),
        operation_name=draw(VALUE),
    )
    return Row.model_validate(changed).model_dump(mode="json", exclude_unset=True)


@CALM
@given(st.lists(documents(), min_size=1, max_size=3), st.booleans(), st.booleans(), st.lists(st.integers(0)))
def test_a_spreadsheet_of_any_referrals_gives_the_same_referrals(
    made: list[dict[str, Any]], mark: bool, crlf: bool, cuts: list[int]
) -> None:
    rows = [flat(document) for document in made]
    header = sorted({name for row in rows for name in row} | set(REQUIRED))
    body = written(header, [[row.get(name, "") for name in header] for row in rows], mark=mark, crlf=crlf)
    found = whole(Sheet(100_000), body, cuts)
    assert [read.number for read in found] == list(range(2, len(made) + 2))
    documents = [Row.model_validate(read.document).model_dump(mode="json", exclude_unset=True) for read in found]
    assert documents == made


@CALM
@given(st.binary(max_size=400), st.lists(st.integers(0), max_size=6))
def test_whatever_comes_a_sheet_is_read_or_refused(body: bytes, cuts: list[int]) -> None:
    head = written([*REQUIRED, "warnings"], [], mark=False, crlf=True)

    def outcome(parts: list[int]) -> object:
        try:
            return [(read.number, read.document) for read in whole(Sheet(LONGEST), head + body, parts)]
        except Problem as problem:
            return problem.kind.slug

    assert outcome(cuts) == outcome([])


@CALM
@given(st.lists(st.binary(max_size=60).filter(lambda line: b"\n" not in line), max_size=8), st.lists(st.integers(0)))
def test_every_line_is_told_of_by_its_number(lines: list[bytes], cuts: list[int]) -> None:
    found = whole(Lines(40), b"\n".join(lines), cuts)
    assert [read.number for read in found] == [
        number for number, line in enumerate(lines, 1) if line.strip() or len(line) > 40
    ]
    assert all((read.fault is None) != (read.document is None) or read.document is None for read in found)


def test_a_line_that_is_too_long_is_not_held() -> None:
    reader = Lines(1_000)
    for _ in range(1_000):
        assert list(reader.feed(b"x" * 1_000)) == []
        assert sum(map(len, reader._pieces)) <= 1_000
    [read] = reader.feed(b"\n")
    assert read.fault is not None
    assert read.fault.kind.status == 413
    [after] = reader.feed(b'{"a": 1}\n')
    assert (after.number, after.document) == (2, {"a": 1})


@pytest.mark.parametrize("text", ["=1+1", "+44 20 7946 0000", "-1", "@SUM(A1)", '=HYPERLINK("http://x")', "'=1"])
def test_a_formula_is_text(text: str) -> None:
    body = written([*REQUIRED, "family_name"], [[*"abcdefghijk", text]], mark=False, crlf=True)
    [read] = whole(Sheet(LONGEST), body, [])
    assert read.document["subject"]["family_name"] == text


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("07/03/1984", "1984-03-07"),
        ("7/3/1984", "1984-03-07"),
        ("1984-03-07", "1984-03-07"),
        ("31/13/1984", "1984-13-31"),  # no date: validation says so
        ("March 1984", "March 1984"),
        ("07/03/84", "07/03/84"),
    ],
)
def test_dates_are_read_as_a_british_spreadsheet_writes_them(given: str, read: str) -> None:
    assert british(given) == read


def test_headings_are_read_as_people_write_them() -> None:
    names = [name.replace("_", " ").capitalize() + " " for name in REQUIRED]
    assert Columns([*names, "Family Name", ""]).document(["x"] * 12)["subject"]["family_name"] == "x"


def test_rows_are_counted_as_a_spreadsheet_shows_them() -> None:
    sound = ",".join(["x"] * len(REQUIRED))
    several_lines = '"two\r\nlines",' + ",".join(["x"] * (len(REQUIRED) - 1))
    body = "\r\n".join([",".join(REQUIRED), sound, "", "," * 10, several_lines, sound + ",,", sound + ",more"])
    found = whole(Sheet(LONGEST), body.encode(), [])
    assert [(read.number, read.fault is None) for read in found] == [(2, True), (5, True), (6, True), (7, False)]


def test_a_cell_may_be_as_long_as_its_row() -> None:
    """That it is too long for its field is then told of that row; the rows beside it are read."""
    sound = ",".join(["x"] * len(REQUIRED))
    endless = ",".join(["x" * 200_000, *["x"] * (len(REQUIRED) - 1)])
    body = "\n".join([",".join(REQUIRED), endless, sound]).encode()
    assert [read.number for read in whole(Sheet(262_144), body, []) if read.fault is None] == [2, 3]


def test_the_template_has_every_kind_of_column_once() -> None:
    header = next(csv.reader([template().removeprefix("\ufeff")]))
    assert set(REQUIRED) | set(TEXTS) | set(NUMBERS) | set(LISTS) | set(IDENTIFIERS) < set(header)
    assert len(set(header)) == len(header)
    Columns(header)


def test_lines_are_json() -> None:
    body = json.dumps({"a": "é"}).encode() + b"\r\n\r\n  \n" + b'{"b": 2}'
    found: Iterator[Read] = iter(whole(Lines(100), body, [3]))
    assert [(read.number, read.document) for read in found] == [(1, {"a": "é"}), (4, {"b": 2})]
