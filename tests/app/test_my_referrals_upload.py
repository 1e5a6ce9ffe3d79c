"""Many referrals in one file, from the browser: streamed, told row by row, and nobody else's to see."""

import asyncio
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from app.db import Database
from app.errors import BAD_BATCH, MEDIA_TYPE, Problem
from app.referrals.batches.columns import REQUIRED
from app.web.upload import FileForm
from tests.acts import rows
from tests.browser import forms, signed_in
from tests.conftest import Cast, Workers

PATH = "/my-referrals/upload"
HEADINGS = ",".join([*REQUIRED, "family_name"])


def row(reference: str, *, priority: str = "routine") -> str:
    """A line of the file."""
    return (
        f"{reference},person,mapped_ocg,fraud,{priority},To find out.,common_law_policing_purpose,OFFICIAL,1,A,P,Quill"
    )


async def uploaded(browser: httpx.AsyncClient, text: str, *, name: str = "referrals.csv") -> httpx.Response:
    """Choose a file in the form, and send it."""
    [form] = forms(await browser.get(PATH))
    form.fields.pop("file")
    return await browser.post(PATH, data=form.fields, files={"file": (name, text.encode(), "text/csv")})


async def test_a_file_becomes_referrals_and_its_bad_rows_are_told_by_number(
    cast: Cast, workers: Workers, database: Database
) -> None:
    browser = await signed_in(cast, "SWP")
    template = await browser.get(f"{PATH}/template.csv")
    assert "client_reference" in template.text
    sent = "\r\n".join([HEADINGS, row("A1"), row("A2", priority="soon"), row("A3")])
    answer = await uploaded(browser, sent)
    assert answer.status_code == 303, answer.text
    address = answer.headers["location"]
    before = (await browser.get(address)).text
    assert 'http-equiv="refresh"' in before
    assert "Being accepted" in before
    await workers.run()
    page = (await browser.get(address)).text
    assert "Completed" in page
    assert 'http-equiv="refresh"' not in page
    assert "3 of 3 rows done" in page
    assert re.search(r'<th scope="row"[^>]*>3</th>\s*<td[^>]*>.*?<code>column/priority</code>', page)
    assert "soon" not in page
    part = (await browser.get(f"{address}/progress")).text
    assert 'data-under-way="no" data-rejected="1"' in part
    assert "3 of 3 rows done" in part
    assert len(await rows(database, "SELECT id FROM referral")) == 2
    assert address in (await browser.get(PATH)).text


async def test_refused_rows_are_shown_by_no_answer_without_an_event(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """The page opened while the upload is under way, its script's looks, and the page that the script loads again."""
    browser = await signed_in(cast, "SWP")
    sent = "\r\n".join([HEADINGS, row("A1"), row("A2", priority="soon")])
    address = (await uploaded(browser, sent)).headers["location"]
    seen = [await browser.get(address), await browser.get(f"{address}/progress")]
    await workers.run()
    seen += [await browser.get(f"{address}/progress") for _ in range(2)]
    seen.append(await browser.get(address))
    shown = [answer.headers["x-request-id"] for answer in seen if "column/priority" in answer.text]
    logged = "SELECT request_id FROM audit_event WHERE action = 'batch.errors_read' ORDER BY id"
    assert shown == [event["request_id"] for event in await rows(database, logged)]
    assert shown[-1] == seen[-1].headers["x-request-id"]


async def test_the_same_form_sent_twice_is_one_upload(cast: Cast, database: Database) -> None:
    browser = await signed_in(cast, "SWP")
    [form] = forms(await browser.get(PATH))
    form.fields.pop("file")
    file = ("a.csv", f"{HEADINGS}\r\n{row('A1')}".encode(), "text/csv")
    answers = [await browser.post(PATH, data=form.fields, files={"file": file}) for _ in range(2)]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert len(await rows(database, "SELECT id FROM batch")) == 1


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("", "", "Choose a file."),
        ("a.csv", "surname,priority\r\nQuill,routine", "The columns are not acceptable."),
        ("a.xlsx", "PK\x03\x04\x00", "The "),
    ],
)
async def test_a_file_that_cannot_be_taken_is_refused_beside_its_field(
    cast: Cast, database: Database, name: str, text: str, words: str
) -> None:
    browser = await signed_in(cast, "SWP")
    answer = await uploaded(browser, text, name=name)
    assert answer.status_code in (400, 422), answer.status_code
    beside = re.search(r'id="file-error"[^>]*>(.*?)</p>', answer.text, re.DOTALL)
    assert beside is not None
    assert words in beside[1]
    assert "Quill" not in answer.text
    assert await rows(database, "SELECT id FROM referral") == []


async def test_an_upload_without_the_forms_token_is_refused_before_its_file_is_taken(
    cast: Cast, database: Database
) -> None:
    browser = await signed_in(cast, "SWP")
    file = ("a.csv", f"{HEADINGS}\r\n{row('A1')}".encode(), "text/csv")
    answer = await browser.post(PATH, data={"csrf": "guessed"}, files={"file": file})
    assert answer.status_code == 403
    assert await rows(database, "SELECT id FROM batch") == []


async def test_a_colleague_sees_an_upload_and_neither_a_strange_force_nor_an_agency_does(cast: Cast) -> None:
    browser = await signed_in(cast, "SWP")
    address = (await uploaded(browser, f"{HEADINGS}\r\n{row('A1')}")).headers["location"]
    expected = {"SWP": 200, "GWP": 404, "HMRC": 403}
    for party, status in expected.items():
        other = await signed_in(cast, party)
        assert (await other.get(address)).status_code == status, party
        assert (await other.get(f"{address}/progress")).status_code == status, party
        assert (address in (await other.get(PATH)).text) is (status == 200), party


def _parts(body: bytes, size: int) -> FileForm:
    async def coming() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    return FileForm('multipart/form-data; boundary="b"', coming())


_BODY = (
    b'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\ntoken\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
    b"a,b\r\n--but no boundary\r\n1,2\r\n--b--\r\n"
)


@pytest.mark.parametrize("size", [1, 3, 7, 64, 1000])
def test_a_form_is_read_the_same_in_whatever_pieces_it_comes(size: int) -> None:
    async def read() -> tuple[dict[str, str], str, bytes]:
        form = _parts(_BODY, size)
        await form.open()
        return form.fields, form.filename, b"".join([piece async for piece in form.file()])

    assert asyncio.run(read()) == ({"csrf": "token"}, "a.csv", b"a,b\r\n--but no boundary\r\n1,2")


def test_a_form_that_breaks_off_or_is_none_is_refused() -> None:
    async def read(body: bytes) -> None:
        form = _parts(body, 64)
        await form.open()
        async for _ in form.file():
            pass

    empty = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n\r\n' % number for number in range(4000)
    )
    for body in (_BODY[:-20], b"nothing of the kind", _BODY.replace(b"token", b"x" * 9000), empty + _BODY):
        with pytest.raises(Problem) as refused:
            asyncio.run(read(body))
        assert refused.value.kind is BAD_BATCH
    with pytest.raises(Problem) as refused:
        FileForm("text/csv", _parts(b"", 1)._body)
    assert refused.value.kind is MEDIA_TYPE
