"""The policy as a page: which role may do what to which rows, and what each route asks for. `gain access table`."""

from collections.abc import Iterable, Iterator, Sequence

from fastapi import APIRouter
from fastapi.routing import APIRoute

from app.access.policy import POLICY, Action, Role
from app.access.routes import declared_action

_HEAD = """# Who may do what

Made by `gain access table > docs/access.md` from [app/access/policy.py](../app/access/policy.py) and from what the
routes declare; a test compares. A route that declares nothing keeps the gateway from starting.

A cell names the rows that an action reaches; whatever else there is answers 404, as what does not exist. An empty cell
is 403.

| Relation | The rows |
|---|---|
| own | the caller's party submitted the referral, or the policy is its own |
| addressed | the dispatch went to the caller's party |
| region | the originator belongs to the caller's region |
| all | every row |
| self | the caller's own account and sessions: no scope is needed |

A key or a token can be limited to some of its role's actions: by their names, or by the word `read` for all that only
read. Anything else is then 403.
"""

_ROUTES = """
## Routes

| Method | Path | Action | Who (which rows) |
|---|---|---|---|
"""

_PUBLIC = "*(anybody)*"

_OPEN = """
What asks for no role says itself whom it lets in: `/v1/token` and `/v1/token/revoke` a client by its key, `/sign-in`
and what is below it a person by password and code, set-up code, OpenID provider or key; the set of public keys is for
everybody. `/metrics` needs no credential from the machine itself.

Besides these anybody may read the files under `/static/` and {paths}: nothing there depends on who asks.
"""


def page(doors: Sequence[APIRouter], open_paths: Iterable[str]) -> str:
    """The page in Markdown: of all actions, and of the routes of these doors."""
    paths = ", ".join(f"`{path}`" for path in sorted(open_paths))
    return "".join([_HEAD, _actions(), _ROUTES, *_routes(doors), _OPEN.format(paths=paths)])


def _actions() -> str:
    roles = list(Role)
    lines = ["", "## Actions", "", f"| Action | {' | '.join(roles)} |", "|---|" + "---|" * len(roles)]
    for action, who in POLICY.items():
        lines.append(f"| `{action}` | {' | '.join(who.get(role, '') for role in roles)} |")
    return "\n".join([*lines, ""])


def _routes(doors: Sequence[APIRouter]) -> Iterator[str]:
    found = {
        (route.path, method): declared_action(route.endpoint)
        for door in doors
        for route in door.routes
        if isinstance(route, APIRoute)
        for method in (route.methods or set()) - {"HEAD"}
    }
    for (path, method), action in sorted(found.items(), key=lambda entry: entry[0]):
        yield f"| {method} | `{path}` | {_asked(action)} |\n"


def _asked(action: Action | None) -> str:
    if action is None:
        return f"{_PUBLIC} | "
    who = ", ".join(f"{role} ({related})" for role, related in POLICY[action].items())
    return f"`{action}` | {who}"
