"""A person at a page of a real browser: by keyboard alone or by mouse, looking at each page they come to."""

import re

from playwright.async_api import Locator, Page, expect

from tests.journeys.axe import assert_accessible, assert_fits

_RING = """element => [element, ...element.parentElement.querySelectorAll('*')].some(one => {
  const style = getComputedStyle(one), before = getComputedStyle(one, '::before');
  return [style, before].some(s => s.outlineStyle !== 'none' && s.outlineWidth !== '0px'
    || s.boxShadow !== 'none' && s.boxShadow !== '');
})"""

_HERE = "element => element === document.activeElement"
_SAME_GROUP = "element => element === document.activeElement || (element.name === document.activeElement.name)"


class Visitor:
    """Somebody who goes from page to page; with `keyboard` nothing is done by mouse, and the focus is looked for.

    `complaints` is what the page's console says, above all of what the content security policy refused.
    """

    def __init__(self, page: Page, *, scripts: bool, keyboard: bool = False) -> None:
        self.page = page
        self._scripts, self._keyboard = scripts, keyboard
        self.complaints: list[str] = []
        page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def stands_at(self, heading: str) -> None:
        """The page has this heading, fits its window, and anybody can use it."""
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)
        await assert_fits(self.page)
        if self._scripts:  # it looks with one
            await assert_accessible(self.page)

    async def press(self, place: Locator) -> None:
        """Press a button or follow a link."""
        if not self._keyboard:
            await place.click()
            return
        await self.reach(place)
        await self.page.keyboard.press("Enter")

    async def button(self, words: str) -> None:
        """Press the button of these words, the last where there are several."""
        await self.press(self.page.get_by_role("button", name=words).last)

    async def link(self, words: str | re.Pattern[str]) -> None:
        """Follow the first link of these words."""
        await self.press(self.page.get_by_role("link", name=words).first)

    async def go(self, words: str) -> None:
        """Follow a link of the header's navigation, which a script folds away where the window is narrow."""
        menu = self.page.get_by_role("button", name="Menu")
        if await menu.is_visible():
            await self.press(menu)
        await self.press(self.page.get_by_role("banner").get_by_role("link", name=words, exact=True))

    async def write(self, label: str, words: str) -> None:
        """Fill in the field of this label anew."""
        place = self.page.get_by_label(label, exact=True)
        if not self._keyboard:
            await place.fill(words)
            return
        await self.reach(place)
        await self.page.keyboard.press("Control+A")
        await self.page.keyboard.type(words)

    async def select(self, label: str, words: str) -> None:
        """Choose from a list that folds; with the keyboard by its first letters."""
        place = self.page.get_by_label(label, exact=True)
        if not self._keyboard:
            await place.select_option(label=words)
            return
        await self.reach(place)
        await self.page.keyboard.type(words)
        await expect(place.locator("option:checked")).to_have_text(words)

    async def tick(self, *places: Locator | str) -> None:
        """Tick each of these, or choose it among its radio buttons; by its label where it is given in words."""
        for place in places:
            box = self.page.get_by_label(place, exact=True) if isinstance(place, str) else place
            if not self._keyboard:
                await box.check()
            elif await box.get_attribute("type") == "radio":
                await self._choose(box)
            else:
                await self.reach(box)
                await self.page.keyboard.press("Space")
            await expect(box).to_be_checked()

    async def choose(self, legend: str, words: str | re.Pattern[str]) -> None:
        """One of the radio buttons of a group."""
        await self.tick(self.page.get_by_role("group", name=legend).get_by_role("radio", name=words))

    async def reach(self, place: Locator) -> None:
        """Go on with the tabulator until the focus is there, and see it."""
        await self._tab_to(place, _HERE)

    async def _choose(self, radio: Locator) -> None:
        """The tabulator leads to the group, the arrows within it."""
        await self._tab_to(radio, _SAME_GROUP)
        await self.page.keyboard.press("Space")
        for _ in range(30):
            if await radio.is_checked():
                return
            await self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"{radio} cannot be reached by keyboard")

    async def _tab_to(self, place: Locator, there: str) -> None:
        for _ in range(250):
            if await place.evaluate(there):
                focused = self.page.locator("*:focus")
                assert await focused.evaluate(_RING), f"the focus at {place} cannot be seen"
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"{place} cannot be reached by keyboard")
