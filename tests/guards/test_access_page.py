"""docs/access.md tells what the policy and the routes are, and the words of the policy mean what they say."""

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from app.access.policy import POLICY, READ, Action, Relation, Role, actions_of, only_reads, scope_of
from app.access.routes import declared_action
from app.main import DOORS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/access.md").read_text(encoding="utf-8")
ROUTES = [route for door in DOORS for route in door.routes if isinstance(route, APIRoute)]


def test_the_page_is_what_the_command_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "app.cli", "access", "table"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout == PAGE, "run: gain access table > docs/access.md"


def test_the_page_lists_every_route_and_every_action() -> None:
    lines = PAGE.splitlines()
    for route in ROUTES:
        for method in (route.methods or set()) - {"HEAD"}:
            assert sum(line.startswith(f"| {method} | `{route.path}` |") for line in lines) == 1
    for action in Action:
        assert sum(line.startswith(f"| `{action}` |") for line in lines) == 1


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{sorted(route.methods)[0]} {route.path}")
def test_a_scope_that_only_reads_lets_nobody_change_anything(route: APIRoute) -> None:
    action = declared_action(route.endpoint)
    if action is not None:
        assert only_reads(action) == (route.methods == {"GET"})


@pytest.mark.parametrize("role", list(Role))
def test_the_word_read_is_all_that_a_role_may_read(role: Role) -> None:
    reading = {action for action in actions_of(role) if only_reads(action)}
    if not reading:
        with pytest.raises(ValueError, match="scope"):
            scope_of(role, [READ])
        return
    assert scope_of(role, [READ]) == reading


@pytest.mark.parametrize("role", list(Role))
def test_no_scope_goes_beyond_its_role(role: Role) -> None:
    for action in Action:
        if POLICY[action].get(role, Relation.SELF) is not Relation.SELF:
            assert scope_of(role, [action.value]) == {action}
        else:
            with pytest.raises(ValueError, match="scope"):
                scope_of(role, [action.value])
