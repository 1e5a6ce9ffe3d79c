"""What pages read of a backlog they read in the order of an index: however much waits, they look at the first few."""

import re

import pytest
from sqlalchemy import text

from app.access.policy import Role
from app.access.principal import behalf_of
from app.db import Database
from app.parties.codes import Priority
from app.reporting import needs, queues
from app.reporting.needs import Group

pytestmark = pytest.mark.timeout(120)

OVERSEERS = {Role.NATIONAL: "GAIN", Role.COORDINATOR: "TARIAN"}
_SORTED = re.compile(r"Sort Key: \(*(?:COALESCE\(|dispatch\w*\.(?:created_at|due_at|expires_at))")
"""A sort of dispatches themselves, rather than of the few that were found."""


async def plan(database: Database, role: Role, statement: str, parameters: dict[str, object]) -> str:
    """How PostgreSQL would go about it on tables too large to be read whole, for somebody of this role."""
    async with database.transaction(behalf_of(role, [OVERSEERS[role]])) as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        rows = await connection.execute(text(f"EXPLAIN {statement}"), parameters)
        return "\n".join(rows.scalars())


@pytest.mark.parametrize("role", OVERSEERS)
async def test_the_oldest_of_each_queue_is_the_first_of_an_index(database: Database, role: Role) -> None:
    statement, parameters = (queues._OF_ALL, {}) if role is Role.NATIONAL else (queues._OF_REGION, {"region": "TARIAN"})
    found = await plan(database, role, statement.text, dict(parameters))
    assert "ix_dispatch_waiting" in found
    assert not _SORTED.search(found), found


@pytest.mark.parametrize("role", OVERSEERS)
@pytest.mark.parametrize("priority", [None, Priority.URGENT])
@pytest.mark.parametrize("group", [Group.CRITICAL, Group.OVERDUE, Group.SOON])
async def test_the_first_cases_of_a_group_are_the_first_of_an_index(
    database: Database, role: Role, priority: Priority | None, group: Group
) -> None:
    statement = needs._statement(group, needs._Narrowed(agency=False, priority=priority))
    parameters: dict[str, object] = {
        "regions": None if role is Role.NATIONAL else ["TARIAN"],
        "most": 1001,
        "shown": 10,
    }
    if priority is not None:
        parameters["priority"] = 0
    found = await plan(database, role, statement.text, parameters)
    assert not _SORTED.search(found), found
