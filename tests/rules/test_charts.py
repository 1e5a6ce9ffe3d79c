"""Charts: valid XML with a name and a description, the numbers on it, and nothing that a strict page must refuse."""

from xml.etree import ElementTree

import pytest

from app.reporting.charts import Chart, svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*bars: tuple[str, float]) -> ElementTree.Element:
    text = svg(Chart("made", "Referrals & forces", "From the <most>.", bars))
    assert text is not None
    return ElementTree.fromstring(text)  # noqa: S314  our own


def test_it_is_an_image_with_a_name_and_a_description() -> None:
    root = drawn(("South Wales", 142), ("Gwent", 30))
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    named = {child.get("id"): child.text for child in root if child.tag in (f"{SVG}title", f"{SVG}desc")}
    assert (root.get("aria-labelledby") or "").split() == list(named)
    assert list(named.values()) == ["Referrals & forces", "From the <most>."]


def test_each_bar_stands_beside_its_label_with_its_number_and_as_long_as_that_is() -> None:
    root = drawn(("South Wales", 142), ("Gwent", 71), ("Gwent", 0))
    texts = ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]
    assert texts.count("Gwent") == 2
    bars = [one for one in root.iter(f"{SVG}rect") if one.get("class") == "bar"]
    values = [one for one in root.iter(f"{SVG}text") if one.get("class") == "value"]
    assert sorted(one.text or "" for one in values) == ["0", "142", "71"]
    by_height = sorted(bars, key=lambda bar: float(bar.get("y", 0)))
    widths = [float(bar.get("width", 0)) for bar in by_height]
    assert widths == pytest.approx([widths[0], widths[0] / 2, 0], abs=0.2)


def test_it_holds_no_style_no_script_and_no_address() -> None:
    """What names say is text, whatever it is."""
    root = drawn(('<script src="//evil.example">', 3), ("javascript:alert(1)", 2), ("</text><style>", 1))
    allowed = {"svg", "title", "desc", "g", "rect", "line", "text"}
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in allowed
        for name in element.attrib:
            assert not name.startswith("on")
            assert name not in ("style", "href", "fill", "stroke", "font-family")
            assert "href" not in name


def test_where_there_is_nothing_there_is_no_chart() -> None:
    assert svg(Chart("made", "t", "d", [])) is None
    assert svg(Chart("made", "t", "d", [("Gwent", 0)])) is None
