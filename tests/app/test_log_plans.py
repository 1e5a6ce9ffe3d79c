"""What is asked about prunings is found by an index of them: however long the log, it is not walked."""

import re

import pytest
from sqlalchemy import text

from app.access.policy import Role
from app.access.principal import behalf_of
from app.audit import export, prune
from app.db import AS_OWNER, Behalf, Database, Numbered

READER = behalf_of(Role.AUDITOR, ["GAIN"])
STATEMENTS = {
    "what declares that an entry was pruned": (export._DECLARATION, READER),
    "how far may be deleted": (prune._DECLARED, AS_OWNER),
    "whether every declaration is sealed": (prune._UNSEALED, AS_OWNER),
}


async def plan(database: Database, statement: str, behalf: Behalf) -> str:
    """How PostgreSQL goes about it whatever the parameters, on tables that it knows to be long and of many actions."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO audit_event (operation, action, party, actor)"
            " SELECT 'consultation', 'filler.' || n % 40, 'SWP', 'x' FROM generate_series(1, 20000) AS n"
        )
        await connection.exec_driver_sql(
            "INSERT INTO audit_entry (sequence, event_id, leaf)"
            " SELECT row_number() OVER (ORDER BY id) - 1, id, sha256('x') FROM audit_event"
        )
        await connection.exec_driver_sql("ANALYZE audit_event, audit_entry")
    async with database.transaction(behalf) as connection:
        numbered = Numbered.of(statement)
        given = f"({', '.join('1' for _ in numbered.order)})" if numbered.order else ""
        await connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        await connection.exec_driver_sql(f"PREPARE asked AS {numbered.statement}")
        rows = await connection.exec_driver_sql(f"EXPLAIN EXECUTE asked{given}")
        found = "\n".join(rows.scalars())
        await connection.exec_driver_sql("DEALLOCATE asked")
        return found


@pytest.mark.parametrize("asked", STATEMENTS)
async def test_declarations_are_found_by_their_own_index_and_their_entries_by_id(
    database: Database, asked: str
) -> None:
    statement, behalf = STATEMENTS[asked]
    found = await plan(database, statement.text, behalf)
    assert "ix_audit_event_pruned" in found, found
    assert "Seq Scan" not in found, found
    assert set(re.findall(r"Scan .*(ix_\w+|uq_\w+|pk_\w+)", found)) <= {
        "ix_audit_event_pruned",
        "uq_audit_entry_event_id",
    }
