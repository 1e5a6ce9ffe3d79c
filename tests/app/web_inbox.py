"""An agency in its web inbox: its list, its items, and the form of an answer."""

import re
from typing import Any

import httpx

from app.db import Database
from tests.acts import dispatched, rows
from tests.browser import signed_in
from tests.conftest import Cast, Workers

SAID = ("Quill", "CX14 ABC", "Heol y Mynydd", "SWP-0142", "current employer")
"""What a referral says that only an opened item may show."""


async def listed(browser: httpx.AsyncClient, **query: str) -> list[str]:
    """The references on a page of the list, in order."""
    page = await browser.get("/my-inbox", params=query)
    assert page.status_code == 200, page.text
    return re.findall(r'<a class="govuk-link" href="/my-inbox/[0-9a-f-]{36}">(GAIN-[0-9-]+)</a>', page.text)


async def ids(database: Database, agency: str = "HMRC") -> dict[str, str]:
    """The ids of an agency's items by reference."""
    found = await rows(
        database,
        "SELECT reference, dispatch.id FROM dispatch JOIN referral ON referral.id = referral_id WHERE agency = :agency",
        agency=agency,
    )
    return {row["reference"]: str(row["id"]) for row in found}


async def opened(cast: Cast, workers: Workers, database: Database) -> tuple[httpx.AsyncClient, httpx.AsyncClient, str]:
    """A force, HMRC's browser, and the id of the one item that it has opened."""
    force, [made] = await dispatched(cast, workers, "HMRC")
    browser = await signed_in(cast, "HMRC")
    id = (await ids(database))[made["reference"]]
    assert (await browser.get(f"/my-inbox/{id}")).status_code == 200
    return force, browser, id


def hit(**changes: Any) -> dict[str, Any]:
    """The form of a hit."""
    return {
        "outcome": "hit",
        "summary": "Keeper of a van since March 2024.",
        "fact-0-kind": "vehicle",
        "fact-0-text": "CX14 ABC, a grey van.",
        "source": "1",
        "assessment": "A",
        "code": "P",
        **changes,
    }


async def written(browser: httpx.AsyncClient, id: str, form: dict[str, Any]) -> httpx.Response:
    """The page to check, of an answer just written."""
    answer = await browser.post(f"/my-inbox/{id}/answer", data=form)
    assert (answer.status_code, answer.headers.get("location")) == (303, f"/my-inbox/{id}/answer/check"), answer.text
    return await browser.get(answer.headers["location"])


async def sent(browser: httpx.AsyncClient, id: str, form: dict[str, Any]) -> httpx.Response:
    """What sending this answer comes to."""
    page = await written(browser, id, form)
    version = re.search(r'name="version" value="(\d+)"', page.text)
    assert version, page.text
    return await browser.post(f"/my-inbox/{id}/answer/check", data={"version": version[1]})


def faults(page: httpx.Response) -> dict[str, str]:
    """The errors of a form: by the field that each leads to. Each stands beside its field too."""
    assert page.status_code == 422, page.text
    found = dict(re.findall(r'<li>\s*<a href="#([^"]+)">([^<]+)</a>', page.text))
    for field, words in found.items():
        assert f'id="{field}"' in page.text, field
        assert page.text.count(words) >= 2, words
    return found
