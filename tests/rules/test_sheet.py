"""The sheet that HTML and PDF are drawn from, and the PDF itself: everything said is on it, and nothing said is run."""

import io
import json
from dataclasses import asdict
from typing import Any

import pytest
from pypdf import PdfReader
from pypdf.generic import DictionaryObject, StreamObject

from app.parties.codes import LegalBasis
from app.reporting import typesetter
from app.reporting.sheet import POWERS, Sheet, sheet
from tests.rules.test_product import DECLINED, HIT, NO_HIT, QUESTION, UNDER_CONSENT, Case

NAMES = {"HMRC": "HM Revenue and Customs", "SWP": "South Wales Police"}
MARKUP = (
    '#panic("x") #eval("1+1") #read("/etc/passwd") #import "@preview/x:1.0.0" $x^2$ *bold* _it_ `raw` = head @label '
    "<tag> \\ [content] // comment /* more */ <script>alert(1)</script> &amp; -- ... \"quoted\" 'so'"
)


def drawn(*facts: str) -> Sheet:
    """The sheet of a case in which everything happens; these facts are the DVLA's."""
    case = Case()
    told = [{"kind": "vehicle", "text": text} for text in facts] or HIT["facts"]
    said = {"HMRC": UNDER_CONSENT, "DVLA": {**HIT, "facts": told}, "CH": NO_HIT, "NFCU": DECLINED, "IE": QUESTION}
    for agency, answer in said.items():
        case.hears(agency, answer)
    for agency, state in {"NCA": "queued", "BF": "expired", "FCA": "undeliverable"}.items():
        case.asks(agency, state)
    return sheet(case.product(), NAMES, "SWP")


def texts(value: Any) -> list[str]:
    """Every text of a document."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [text for part in parts for text in texts(part)]


def pdf(of: Sheet) -> PdfReader:
    """The PDF of a sheet, read back."""
    return PdfReader(io.BytesIO(typesetter.pdf(json.loads(json.dumps(asdict(of))))))


def written(reader: PdfReader) -> str:
    """All that stands in a PDF, without the breaks that lines and pages make."""
    return " ".join(" ".join(page.extract_text() for page in reader.pages).replace("\u200b", "").split())


def catalogue(reader: PdfReader) -> DictionaryObject:
    """The root of a PDF."""
    found = reader.trailer["/Root"]
    assert isinstance(found, DictionaryObject)
    return found


def test_every_body_stands_on_it_with_what_it_said_and_who_has_not_answered() -> None:
    sections = {section.heading: section for section in drawn().sections}
    titles = [item.title for item in sections["Who has not answered"].items]
    assert titles == [
        "IE: asked for more information",
        "NCA: not seen yet",
        "BF: expired",
        "FCA: undeliverable",
    ]
    assert "Which of the two?" in sections["Who has not answered"].items[0].text
    assert [item.title for item in sections["Declined"].items] == ["NFCU: outside remit"]
    assert [item.title for item in sections["Answers"].items] == [
        "HM Revenue and Customs (HMRC): hit",
        "DVLA: hit",
        "CH: no hit",
    ]


def test_each_fact_carries_its_own_grading_and_handling_and_the_gate_of_consent() -> None:
    found = [item for section in drawn().sections for item in section.items if item.text == "No return filed."]
    assert found[0].notes[:3] == [
        "Grading 1B: reliable, known indirectly but corroborated",
        "Handling C, lawful sharing permitted with conditions: A1 covert development, S2 consult the originator",
        "Onward disclosure: only with the body's consent",
    ]
    assert found[0].caution == "Not to go further without the consent of HM Revenue and Customs (HMRC)."


def test_what_must_be_heeded_stands_first() -> None:
    cautions = drawn().cautions
    assert cautions[0].startswith("Handling of this product as a whole: C")
    assert "violent" in cautions[1]
    assert "HM Revenue and Customs (HMRC)" in cautions[2]


def test_every_power_has_its_act() -> None:
    assert set(POWERS) == set(LegalBasis)


def test_the_pdf_says_all_that_the_sheet_says() -> None:
    of = drawn()
    text = written(pdf(of))
    for said in texts(asdict(of)):
        assert " ".join(said.split()) in text, said


def test_the_marking_and_the_number_stand_on_every_page() -> None:
    reader = pdf(drawn("A long story. " * 700))
    assert len(reader.pages) > 2
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text()
        assert text.count("OFFICIAL-SENSITIVE") >= 2
        assert f"Page {number} of {len(reader.pages)}" in text


def test_the_pdf_is_tagged_and_says_its_language_and_title() -> None:
    reader = pdf(drawn())
    root = catalogue(reader)
    assert reader.root_object.get("/MarkInfo", {}).get("/Marked")
    assert str(root["/Lang"]) == "en-GB"
    assert "/StructTreeRoot" in root
    assert reader.metadata is not None
    assert reader.metadata.title == "Consolidated product GAIN-2026-000001"
    described = root["/Metadata"]
    assert isinstance(described, StreamObject)
    assert b"pdfuaid" in described.get_data()


def test_what_looks_like_markup_is_set_as_it_was_written() -> None:
    reader = pdf(drawn(MARKUP))
    assert MARKUP in written(reader)
    root = catalogue(reader)
    assert not {"/OpenAction", "/AA", "/AcroForm", "/EmbeddedFiles"} & set(root)
    assert not any("/Annots" in page for page in reader.pages)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Łódź, Ελλάδα, Привет, Ynys Môn", "Łódź, Ελλάδα, Привет, Ynys Môn"),
        ("中", "[U+4E2D]"),
        ("a\u202eb", "a[U+202E]b"),
        ("bell\u0007", "bell[U+0007]"),
        ("\U0001f600", "[U+1F600]"),
        ("private \ue000", "private [U+E000]"),
        ("one\ttwo\r\nthree", "one two three"),
    ],
)
def test_a_character_that_cannot_be_shown_is_told_by_its_number_not_lost(said: str, shown: str) -> None:
    assert shown in written(pdf(drawn(said)))


def test_a_thousand_characters_without_a_glyph_are_all_told() -> None:
    text = written(pdf(drawn("".join(chr(0x4E00 + number) for number in range(1000)))))
    assert "[U+4E00]" in text.replace(" ", "")
    assert text.replace(" ", "").count("[U+") == 1000


def test_a_word_without_a_space_stays_on_the_page() -> None:
    lines = [line for page in pdf(drawn("W" * 1000)).pages for line in page.extract_text().splitlines()]
    wide = [line.count("W") for line in lines if "WWW" in line]
    assert sum(wide) == 1000
    assert max(wide) <= 48  # as wide as a line is
