"""Many referrals in one file, from the browser: the upload, how far it is, and what was wrong with its rows."""

from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from app.access.forms import FIELD, check_token, reads_own_form
from app.access.pages import PageRoute, unattended
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.db import Connection
from app.errors import NOT_FOUND, Problem
from app.intake.batches import body_of, read_template
from app.referrals.batches import progress
from app.referrals.batches.models import BatchState, Format
from app.referrals.batches.receive import receive
from app.web import pages
from app.web.database import Transaction, database
from app.web.idempotency import PLAUSIBLE_KEY
from app.web.upload import FileForm

PATH = "/my-referrals/upload"

router = APIRouter(route_class=PageRoute, prefix="/my-referrals", include_in_schema=False)

_LISTED = 10
_ROWS = 100
_LINES = (".ndjson", ".jsonl")
_UNDER_WAY = (BatchState.RECEIVING, BatchState.ACCEPTING)


@router.get("/upload", response_class=Response)
@permit(Action.READ_BATCH)
async def upload_page(request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The form for a file, and the party's last uploads."""
    earlier = await progress.page(connection, progress.visible(principal), limit=_LISTED)
    await progress.listed(connection, principal, earlier)
    return _form(request, [one.document for one in earlier], {})


@router.post("/upload", response_class=Response)
@permit(Action.SUBMIT_BATCH)
@reads_own_form
async def upload(request: Request, principal: CurrentPrincipal) -> Response:
    """Store every row as it comes, and lead to how far it is. The same form sent again is the same upload."""
    form = FileForm(request.headers.get("content-type", ""), body_of(request))
    await form.open()
    check_token(request, form.fields.get(FIELD, ""))
    if not form.filename:
        return await _refused(request, principal, "Choose a file.", 422)
    once = form.fields.get("once", "")
    written = Format.NDJSON if form.filename.lower().endswith(_LINES) else Format.CSV
    key = once if PLAUSIBLE_KEY.fullmatch(once) else None
    try:
        received = await receive(request.app.state.desk, principal, written, form.file(), key)
    except Problem as problem:
        if problem.kind.status >= 500:
            raise
        return await _refused(request, principal, _told(problem), problem.kind.status)
    request.app.state.wake.work()
    return RedirectResponse(f"/my-referrals/uploads/{received.id}", 303)


@router.get("/upload/template.csv", response_class=Response)
@permit(Action.READ_BATCH)
async def template_file() -> Response:
    """A file with the usual headings and no row."""
    return await read_template()


@router.get("/uploads/{id}", response_class=Response)
@permit(Action.READ_BATCH)
async def progress_page(
    id: UUID,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    after: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """How far an upload is, and the rows that were refused, by their numbers."""
    found = await _progress(connection, principal, id)
    await progress.shown(connection, principal, id)
    rows = await progress.errors(connection, id, after, _ROWS + 1)
    if rows:
        await progress.errors_shown(connection, principal, id)
    more = rows[_ROWS - 1]["row"] if len(rows) > _ROWS else None
    return pages.render("my_upload_progress.html", request=request, **found, rows=rows[:_ROWS], after=after, more=more)


@router.get("/uploads/{id}/progress", response_class=Response)
@permit(Action.READ_BATCH)
@unattended
async def progress_part(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The figures of that page, for its script: of the look that the page's own event tells of.

    Never a refused row: those only the page shows, which its script loads again at the end, and which is logged.
    """
    return pages.render("my_upload_part.html", **await _progress(connection, principal, id))


async def _progress(connection: Connection, principal: Principal, id: UUID) -> dict[str, Any]:
    found = await progress.get(connection, progress.visible(principal), id)
    if found is None:
        raise Problem(NOT_FOUND)
    return {"batch": found.document, "under_way": found.document["state"] in _UNDER_WAY}


async def _refused(request: Request, principal: Principal, words: str, status: int) -> Response:
    async with database(request).transaction(principal.behalf) as connection:
        earlier = await progress.page(connection, progress.visible(principal), limit=_LISTED)
        await progress.listed(connection, principal, earlier)
    return _form(request, [one.document for one in earlier], {"file": words}, status)


def _form(request: Request, earlier: list[dict[str, Any]], errors: dict[str, str], status: int = 200) -> Response:
    return pages.render(
        "my_upload.html", request=request, status=status, earlier=earlier, errors=errors, once=str(uuid4())
    )


def _told(problem: Problem) -> str:
    """A refusal of the whole file in words: its columns by name, which are ours or nobody's."""
    columns = [f"{one['pointer'].rpartition('/')[2]}: {one['detail']}" for one in problem.errors or ()]
    return " ".join([f"{problem.kind.title}.", *columns[:10], problem.detail or problem.kind.advice])
