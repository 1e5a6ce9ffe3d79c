"""A new referral as a list of tasks: a draft, its sections, the answers to check, the submission, the receipt."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.crypto.vault import blind_index_of
from app.db import Connection
from app.errors import NOT_FOUND, UNKNOWN_ADDRESSEE, Problem
from app.intake import sections
from app.intake.my_referrals import router as referrals
from app.intake.sections import ADDRESSEES, SECTIONS, Section, section_of
from app.intake.submit import submit
from app.parties.codes import PartyKind
from app.parties.directory import Directory
from app.referrals import drafts, queries
from app.referrals.documents import SubmittedReferral
from app.referrals.drafts import Content
from app.web import pages
from app.web.database import Transaction, database

router = APIRouter(route_class=PageRoute, prefix="/my-referrals/new", include_in_schema=False)

_SHOWN_AS_BOXES = (PartyKind.AGENCY, PartyKind.PRIVATE)


@router.get("", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def start_page(request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The party's drafts to go on with, and the button for a new one."""
    found = await drafts.of_party(connection, principal.party)
    told = {"drafts": [str(one["id"]) for one in found]}
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "drafts.listed", detail=told)])
    return pages.render(
        "my_drafts.html",
        request=request,
        drafts=[
            {**one, "about": _about(one["content"]), "mine": one["updated_by"] == principal.credential} for one in found
        ],
        days=drafts.KEPT_DAYS,
    )


@router.post("", response_class=Response)
@permit(Action.SUBMIT_REFERRAL)
async def begin(principal: CurrentPrincipal, connection: Transaction) -> Response:
    """A new draft, and its tasks."""
    return _to(await drafts.begin(connection, principal.actor))


@router.get("/{id}", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def tasks_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The sections, each with how far it is."""
    content = await _content(connection, principal, id)
    return pages.render(
        "my_draft.html",
        request=request,
        id=id,
        about=_about(content),
        sections=SECTIONS,
        content=content,
        standing=sections.standing(content),
        days=drafts.KEPT_DAYS,
    )


@router.get("/{id}/check", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def check_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """All that was answered, and own referrals about the same subject, before it is submitted."""
    content = await _content(connection, principal, id)
    if not all(sections.standing(content).values()):
        return _to(id)
    names = {party.code: f"{party.name} ({party.code})" for party in await _directory(request, connection)}
    twins = await _twins(connection, principal, id, content)
    return pages.render(
        "my_draft_check.html",
        request=request,
        id=id,
        parts=[(one, sections.answers(one, content, names)) for one in SECTIONS],
        twins=twins,
    )


@router.post("/{id}/check", response_class=Response)
@permit(Action.SUBMIT_REFERRAL)
async def hand_in(id: UUID, request: Request, principal: CurrentPrincipal) -> Response:
    """Submit the draft; the same draft again leads to the same receipt."""
    async with database(request).transaction(principal.behalf) as connection:
        content = await drafts.read(connection, principal.party, id)
        made = await drafts.submitted_as(connection, request.app.state.keys, principal.party, id)
    if content is None:
        if made is None:
            raise Problem(NOT_FOUND)
        return _receipt(made)
    if not all(sections.standing(content).values()):
        return _to(id)
    body = SubmittedReferral.model_validate(sections.filled(content).document)
    # Without a transaction of ours: the referral is stored in one that it shares with others.
    answer = await submit(body, request, principal, drafts.key_of(id))
    async with database(request).transaction(principal.behalf) as connection:
        await drafts.discard(connection, principal.actor, id, because="draft.submitted")
    return _receipt(UUID(answer.headers["Location"].rpartition("/")[2]))


@router.get("/{id}/discard", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def discard_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Whether to delete it."""
    await _content(connection, principal, id)
    return pages.confirm(
        request,
        "Delete this draft?",
        "Everything that you and your colleagues typed into it is deleted. Nobody has been asked anything yet.",
        button="Delete the draft",
        back=f"/my-referrals/new/{id}",
        warning=True,
    )


@router.post("/{id}/discard", response_class=Response)
@permit(Action.SUBMIT_REFERRAL)
async def discard(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Delete it."""
    if not await drafts.discard(connection, principal.actor, id):
        raise Problem(NOT_FOUND)
    return RedirectResponse("/my-referrals/new", 303)


@router.get("/{id}/{slug}", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def section_page(
    id: UUID, slug: str, request: Request, principal: CurrentPrincipal, connection: Transaction
) -> Response:
    """One section's form as it was kept."""
    section = _section(slug)
    content = await _content(connection, principal, id)
    fields = {**sections.blank(section), **content.get(slug, {})}
    return _form(request, await _directory(request, connection), id, section, fields, {}, principal)


@router.post("/{id}/{slug}", response_class=Response)
@permit(Action.SUBMIT_REFERRAL)
async def keep_section(
    id: UUID, slug: str, request: Request, principal: CurrentPrincipal, connection: Transaction
) -> Response:
    """Keep a section that is in order; otherwise its form again, with what is wrong."""
    section = _section(slug)
    content = await _content(connection, principal, id)
    directory = await _directory(request, connection)
    fields = sections.given_by(section, await request.form(max_files=0))
    changed = {**content, slug: fields}
    errors = sections.faults(section, changed)
    if section is ADDRESSEES and not errors:
        errors = _unknown(sections.filled(changed).document.get("addressees", ()), directory, principal)
    if errors:
        return _form(request, directory, id, section, fields, errors, principal)
    if not await drafts.save(connection, principal.actor, id, slug, fields):
        raise Problem(NOT_FOUND)
    return _to(id)


@referrals.get("/{id}/receipt", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def receipt_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """That it was submitted, its reference, and what happens next."""
    referral = await queries.get(connection, queries.visible(principal, Action.READ_OWN_REFERRALS), id)
    if referral is None:
        raise Problem(NOT_FOUND)
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "referral.read", id)])
    return pages.render("my_receipt.html", request=request, referral=referral)


def _section(slug: str) -> Section:
    found = section_of(slug)
    if found is None:
        raise Problem(NOT_FOUND)
    return found


async def _content(connection: Connection, principal: Principal, id: UUID) -> Content:
    """What a draft of the party holds; the look at it is logged. Raises `Problem` (404)."""
    content = await drafts.read(connection, principal.party, id)
    if content is None:
        raise Problem(NOT_FOUND)
    read = Event(Operation.CONSULTATION, "draft.read", detail={"draft": str(id)})
    await record(connection, principal.actor, [read])
    return content


async def _directory(request: Request, connection: Connection) -> Directory:
    found: Directory = await request.app.state.directory.get(connection)
    return found


async def _twins(connection: Connection, principal: Principal, id: UUID, content: Content) -> list[dict[str, Any]]:
    """The party's own referrals about the draft's subject, newest first; nobody else's."""
    body = SubmittedReferral.model_validate(sections.filled(content).document)
    digests = [blind.digest for blind in blind_index_of(connection).of(body.subject.model_dump(mode="json"))]
    found = await drafts.same_subject_of_own(connection, principal.party, digests)
    if found:
        detail = {"draft": str(id), "ids": [str(one["id"]) for one in found]}
        await record(connection, principal.actor, [Event(Operation.COMBINATION, "duplicates.own_read", detail=detail)])
    return found


def _unknown(named: Any, directory: Directory, principal: Principal) -> dict[str, str]:
    known = [party for code in named if (party := directory.get(code)) and party.receives and code != principal.party]
    return {} if len(known) == len(named) else {"others": UNKNOWN_ADDRESSEE.advice}


def _form(
    request: Request,
    directory: Directory,
    id: UUID,
    section: Section,
    fields: dict[str, Any],
    errors: dict[str, str],
    principal: Principal,
) -> Response:
    bodies = [one for one in directory if one.kind in _SHOWN_AS_BOXES and one.receives and one.code != principal.party]
    return pages.render(
        "my_draft_section.html",
        request=request,
        status=422 if errors else 200,
        id=id,
        section=section,
        fields=fields,
        errors=errors,
        bodies=sorted(((one.code, f"{one.name} ({one.code})") for one in bodies), key=lambda one: one[1]),
    )


def _about(content: Content) -> str:
    """A draft in one line: a name or number of its subject, or that there is none yet."""
    fields = content.get("subject", {})
    names = [fields.get("family_name"), fields.get("given_names")]
    named = ", ".join(name for name in names if name) if fields.get("kind") == "person" else fields.get("name")
    return named or fields.get("identifier_1") or "No subject yet"


def _to(id: UUID) -> Response:
    return RedirectResponse(f"/my-referrals/new/{id}", 303)


def _receipt(id: UUID) -> Response:
    return RedirectResponse(f"/my-referrals/{id}/receipt", 303)
