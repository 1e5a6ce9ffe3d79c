"""Accessibility of an open page by axe-core, which `make setup` brings (node_modules)."""

from pathlib import Path
from typing import Any

from playwright.async_api import Page

_ENGINE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_RUN = "tags => axe.run({runOnly: {type: 'tag', values: tags}, resultTypes: ['violations'], preload: false})"


async def assert_accessible(page: Page) -> None:
    """Fail, naming rule, element and reason, where the page as it stands breaks a rule of WCAG 2.2 A or AA.

    The engine comes in through the browser's debugger, which the page's content security policy does not hinder.
    """
    await page.evaluate(_ENGINE.read_text(encoding="utf-8"))
    found: dict[str, Any] = await page.evaluate(_RUN, _TAGS)
    told = [
        f"{violation['id']} ({violation['impact']}) at {node['target']}: {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    assert not told, f"{page.url} is not accessible:\n" + "\n".join(told)
    assert found["testEngine"]["name"] == "axe-core"


async def assert_fits(page: Page) -> None:
    """Fail where the page is wider than its window (WCAG 2.2, 1.4.10 at 320 pixels)."""
    wide = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1], f"{page.url} is {wide[0]} pixels wide in a window of {wide[1]}"


_FORCED = """() => {
  const seen = element => element.getClientRects().length > 0 && getComputedStyle(element).visibility === 'visible';
  const ringed = style => style.outlineStyle !== 'none' && style.outlineWidth !== '0px';
  const lost = [];
  for (const box of document.querySelectorAll(".govuk-button, input, select, textarea")) {
    const style = getComputedStyle(box);
    if (!seen(box) || style.opacity === '0' || box.type === 'file') continue;  // what these show is drawn elsewhere
    if (style.borderTopStyle === 'none' || style.borderTopWidth === '0px') lost.push('no edge: ' + box.outerHTML);
  }
  const able = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  for (const one of document.querySelectorAll(able)) {
    if (!seen(one) || one.disabled) continue;
    one.focus({preventScroll: true, focusVisible: true});
    if (document.activeElement !== one) continue;
    const drawn = [one, one.nextElementSibling].filter(Boolean).flatMap(
      each => [getComputedStyle(each), getComputedStyle(each, '::before')]);
    if (!drawn.some(ringed)) lost.push('no focus: ' + one.outerHTML);
  }
  document.activeElement.blur();
  return lost;
}"""


async def assert_usable_in_forced_colours(page: Page) -> None:
    """Fail where, in forced colours, a control has no edge or a focused element no ring.

    Backgrounds and shadows are not drawn there: what shows by them alone shows not at all.
    """
    assert await page.evaluate("matchMedia('(forced-colors: active)').matches")
    await page.keyboard.press("Tab")  # from now on the focus is one of the keyboard
    lost = await page.evaluate(_FORCED)
    assert not lost, f"{page.url} in forced colours:\n" + "\n".join(lost)
