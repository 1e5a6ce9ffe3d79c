"""The page before each deed, and the deed: two routes at one address, as `docs/pages.md` has it."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from markupsafe import Markup
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.routes import permit
from app.errors import STATE_CONFLICT, Problem
from app.referrals import queries
from app.referrals.states import OPEN
from app.status.act import Act, Acting, Referral
from app.status.deed_forms import DISPATCH_DEEDS, REFERRAL_DEEDS, Deed, Given, given
from app.web import pages

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Sent = Annotated[Given, Depends(given)]


def _offer(deed: Deed, place: str) -> None:
    """Let the deed be done at `/<place>/{id}/<its word>`."""
    address = f"/{place}/{{id}}/{deed.word}"
    on_dispatch = place == "dispatches"

    async def matter(act: Act, id: UUID) -> tuple[Referral, Mapping[str, Any]]:
        referral = await act.referral(await act.of_dispatch(id) if on_dispatch else id)
        dispatch: Mapping[str, Any] = next((one for one in referral["dispatches"] if one["id"] == id), {})
        return referral, dispatch

    @router.get(address, response_class=Response)
    @permit(Action.SEE_STATUS_PAGE)
    async def ask(id: UUID, request: Request, act: Acting) -> Response:
        referral, dispatch = await matter(act, id)
        if not deed.possible(referral, dispatch):
            raise Problem(STATE_CONFLICT)
        return await _page(request, act, deed, referral, dispatch)

    @router.post(address, response_class=Response)
    @permit(Action.COORDINATE)
    async def do(id: UUID, request: Request, act: Acting, sent: Sent) -> Response:
        referral, dispatch = await matter(act, id)
        if errors := sent.errors(deed):
            return await _page(request, act, deed, referral, dispatch, sent, errors)
        action = f"{deed.word} {id}" if on_dispatch else deed.word

        async def done(referral: Referral) -> bool:
            return await deed.does(act, referral, id, sent)

        await act.do(referral["id"], action, sent.document, done)
        return RedirectResponse(f"/referrals/{referral['id']}?done={place}-{deed.word}", 303)


for _deed in REFERRAL_DEEDS:
    _offer(_deed, "referrals")
for _deed in DISPATCH_DEEDS:
    _offer(_deed, "dispatches")


async def _page(
    request: Request,
    act: Act,
    deed: Deed,
    referral: Referral,
    dispatch: Mapping[str, Any],
    sent: Given | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    agency = dispatch.get("agency", "")
    await queries.shown(act.connection, act.principal, referral["id"])
    return pages.confirm(
        request,
        deed.heading.format(agency=agency),
        deed.says.format(agency=agency),
        caption=referral["reference"],
        button=deed.link,
        back=f"/referrals/{referral['id']}",
        reason=(sent.reason if sent else "") if deed.asks_why else None,
        fields=await _fields(act, deed, referral, sent or Given(), errors or {}),
        errors=errors or {},
        warning=deed.warning,
    )


async def _fields(act: Act, deed: Deed, referral: Referral, sent: Given, errors: Mapping[str, str]) -> Markup:
    if deed.asks_until:
        return pages.text("extend_fields.html", sent=sent, errors=errors)
    if deed.asks_whom:
        return pages.text(
            "addressees_fields.html", groups=await _askable(act, deed, referral), sent=sent, errors=errors
        )
    return Markup()


async def _askable(act: Act, deed: Deed, referral: Referral) -> list[tuple[str, list[tuple[str, str]]]]:
    """The bodies that can be asked, with their names, by group: to reopen, those asked before come first."""
    directory = (await act.reference()).directory
    before = {one["agency"] for one in referral["dispatches"]}
    still_open = {one["agency"] for one in referral["dispatches"] if one["state"] in OPEN}
    choices = [
        (party.code, f"{party.name} ({party.code})")
        for party in directory.agencies()
        if party.code != referral["originator"] and party.code not in still_open
    ]
    asked = [choice for choice in choices if choice[0] in before]
    others = [choice for choice in choices if choice[0] not in before]
    groups = [("Asked before", asked), ("Not asked yet", others)]
    return [group for group in (groups if deed.word == "reopen" else groups[::-1]) if group[1]]
