"""What a migration says of the second wall for its tables: `grant`, then `protect`; and conditions to say it with.

A table of its own migration needs both in that migration, or an entry in `tests/guards/test_row_security.py` that says
why grants alone decide (docs/database-roles.md tells how). What has landed used these words: add some, change none.
"""

from collections.abc import Iterator, Mapping

from alembic import op

Grants = Mapping[str, Mapping[str, str]]
"""By role (without `gain_as_`) and privileges, the tables: `{"worker": {"SELECT, INSERT": "circuit, heartbeat"}}`.

Privileges may name columns, `UPDATE (state, updated_at)`; of a sequence it is `SEQUENCE referral_number`.
"""

Policies = Mapping[str, Mapping[str, str | tuple[str, str]]]
"""By table and role, the condition of the rows that it sees; or of those it sees and, other, of those it may write."""

NONE, ALL = "false", "true"


def ours(column: str) -> str:
    """The row belongs to one of the parties that the transaction acts for. The look at the setting is made once."""
    return f"{column} = ANY (CAST((SELECT acting_for()) AS text[]))"


def of_region(column: str = "region") -> str:
    """The same of a region: a co-ordinator acts for one. Equality keeps the order that an index has after it."""
    return f"{column} = (SELECT (acting_for())[1])"


def of_referral(table: str) -> str:
    """The role sees the row's referral: that has a policy of its own."""
    return f"EXISTS (SELECT FROM referral WHERE referral.id = {table}.referral_id)"


def sent(table: str) -> str:
    """The row's referral is in an inbox of the agency's: what it sees of `dispatch` is that."""
    return f"EXISTS (SELECT FROM dispatch WHERE dispatch.referral_id = {table}.referral_id)"


def grant(grants: Grants) -> None:
    """Let roles do this, beside what they may already."""
    for role, granted in grants.items():
        for privileges, objects in granted.items():
            for objects_of_a_kind in _by_kind(objects):
                op.execute(f"GRANT {privileges} ON {objects_of_a_kind} TO gain_as_{role}")


def protect(policies: Policies) -> None:
    """Show these roles these rows only, in place of what an earlier migration said of the same table and role.

    Locks each table as `ALTER TABLE` does. In an autocommit block it is one at a time, for tables that are in use.
    """
    for table, conditions in policies.items():
        op.execute(f"DO $do$ BEGIN {'; '.join(_statements(table, conditions))}; END $do$")


def _by_kind(objects: str) -> Iterator[str]:
    """Tables in one statement, sequences one by one."""
    names = objects.split(", ")
    if tables := [name for name in names if not name.startswith("SEQUENCE ")]:
        yield ", ".join(tables)
    yield from (name for name in names if name.startswith("SEQUENCE "))


def _statements(table: str, conditions: Mapping[str, str | tuple[str, str]]) -> Iterator[str]:
    for role, condition in conditions.items():
        seen, written = condition if isinstance(condition, tuple) else (condition, condition)
        yield f"DROP POLICY IF EXISTS {table}_{role} ON {table}"
        yield f"CREATE POLICY {table}_{role} ON {table} TO gain_as_{role} USING ({seen}) WITH CHECK ({written})"
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
