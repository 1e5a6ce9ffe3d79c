"""Charts as SVG that stands in a page: drawn by leather, named and described for who cannot see them. Pure.

They hold no style, no script and no address, so that our Content-Security-Policy has nothing to refuse; what they look
like is the page's style sheet's (classes `gain-chart`, `bar`, `tick`, `value`), forced colours and print included.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree  # nosec B405  # it writes what leather made, and parses nothing

import leather
from markupsafe import Markup

_WIDTH, _BAR, _FRAME = 760, 24, 96
_GAP = 5
_ROOM = 1.12
"""The scale ends this much beyond the longest bar, so that its number has room beside it."""

_LOOKS = ("fill", "stroke", "font-family", "font-size")
_LONG = re.compile(r"-?\d+\.\d\d+")


@dataclass(frozen=True, slots=True)
class Chart:
    """Horizontal bars, from the top: a label and a number each. `name` is a word for the ids in its page.

    `words` writes a number, as it stands beside its bar. The page tells the same in a table.
    """

    name: str
    title: str
    description: str
    bars: Sequence[tuple[str, float]]
    words: Callable[[float], str] = "{:,.0f}".format


def svg(chart: Chart) -> Markup | None:
    """The chart as an `svg` element, or None where there is nothing to draw: no bar, or none longer than 0."""
    longest = max((number for _, number in chart.bars), default=0)
    if longest <= 0:
        return None
    height = _FRAME + _BAR * len(chart.bars)
    root = ElementTree.Element(
        "svg",
        {
            "class": "gain-chart",
            "role": "img",
            "aria-labelledby": f"{chart.name}-title {chart.name}-description",
            "viewBox": f"0 0 {_WIDTH} {height}",
            "width": str(_WIDTH),
            "height": str(height),
            "xmlns": "http://www.w3.org/2000/svg",
        },
    )
    ElementTree.SubElement(root, "title", {"id": f"{chart.name}-title"}).text = chart.title
    ElementTree.SubElement(root, "desc", {"id": f"{chart.name}-description"}).text = chart.description
    drawn = _drawn(chart, longest, height)
    _number(drawn, chart)
    for element in drawn.iter():
        _leave_looks_to_the_page(element)
    root.append(drawn)
    # Everything in it was escaped when it was written.
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # nosec B704  # noqa: S704


def _drawn(chart: Chart, longest: float, height: int) -> ElementTree.Element:
    drawing = leather.Chart()
    # Names need not be different, places are.
    places = [f"{place}" for place in range(len(chart.bars))]
    names = dict(zip(places, (name for name, _ in chart.bars), strict=True))
    drawing.add_bars([(number, place) for place, (_, number) in zip(places, chart.bars, strict=True)])
    drawing.add_x_scale(0, longest * _ROOM)
    drawing.add_y_axis(tick_formatter=lambda value, _index, _count: names[value])
    drawn: ElementTree.Element = drawing.to_svg_group(_WIDTH, height)
    drawn.remove(drawn[0])  # a background of its own
    for parent in list(drawn.iter("g")):
        for axis in parent.findall("g[@class='axis bottom']"):  # each bar has its number beside it
            parent.remove(axis)
    return drawn


def _number(drawn: ElementTree.Element, chart: Chart) -> None:
    """Write its number beside each bar; leather draws them from below."""
    for group in drawn.iter("g"):
        if "bars" not in group.get("class", "").split():
            continue
        for bar, (_, number) in zip(list(group), reversed(chart.bars), strict=True):
            bar.set("class", "bar")
            right = float(bar.get("x", 0)) + float(bar.get("width", 0)) + _GAP
            middle = float(bar.get("y", 0)) + float(bar.get("height", 0)) / 2
            place = {"class": "value", "x": str(right), "y": str(middle), "dy": "0.32em"}
            ElementTree.SubElement(group, "text", place).text = chart.words(number)


def _leave_looks_to_the_page(element: ElementTree.Element) -> None:
    for name in _LOOKS:
        element.attrib.pop(name, None)
    element.attrib.update({name: _LONG.sub(_shorter, value) for name, value in element.attrib.items()})


def _shorter(number: re.Match[str]) -> str:
    return f"{float(number.group()):.1f}"
