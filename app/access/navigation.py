"""Who is signed in, and where the header of a page leads: what the policy lets the caller's role do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from app.access.policy import Action, Role, relation
from app.access.principal import Principal
from app.web import pages
from app.web.words import plain

ROLE_NAMES: dict[Role, str] = {
    Role.ORIGINATOR: "originator",
    Role.AGENCY: "agency",
    Role.COORDINATOR: "co-ordinator",
    Role.NATIONAL: "national co-ordinator",
    Role.AUDITOR: "auditor",
    Role.ADMINISTRATOR: "administrator",
}
"""What a person calls each role."""


@dataclass(frozen=True, slots=True)
class Link:
    """A place that the header leads to, for every role that may do the action. Lower `order` stands first."""

    text: str
    address: str
    action: Action
    order: int = 50


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whom the header names. `person` is the account's, where the session is not a key's; `purpose` why they read."""

    party: str
    role: str
    person: str | None = None
    purpose: str | None = None


_links: set[Link] = set()


def add_links(*links: Link) -> None:
    """Have the header lead there. A door calls this once, when it is imported."""
    _links.update(links)


def links_of(role: Role, path: str) -> list[Mapping[str, Any]]:
    """The links of a role as `govukServiceNavigation` takes them, with the one that leads to `path` marked."""
    allowed = sorted(
        (link for link in _links if relation(role, link.action) is not None), key=lambda link: (link.order, link.text)
    )
    return [
        {"text": link.text, "href": link.address, "current": path == link.address, "active": _is_within(path, link)}
        for link in allowed
    ]


def _is_within(path: str, link: Link) -> bool:
    return link.address != "/" and path.startswith(f"{link.address}/")


@pages.add_context
def header(request: Request) -> Mapping[str, Any]:
    """What `base.html` says of the caller: nothing before it is recognised."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        return {}
    purpose = None if principal.purpose is None else plain(principal.purpose)
    return {
        "signed_in": SignedIn(principal.party, ROLE_NAMES[principal.role], principal.person, purpose),
        "navigation": links_of(principal.role, request.url.path),
    }
