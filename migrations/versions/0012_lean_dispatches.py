"""References of dispatches and responses are looked up once a statement, not once a row.

What a foreign key does for each row by a query of its own, and a lock on the row it leads to, a statement's trigger
does for all rows at once. A parent cannot go or change its id while anything leads to it: no role may delete one, and
who adds to one holds its lock.

Safe while the program before still runs: each change takes a moment's lock, and the same rows are refused throughout.
"""

from alembic import op

# ruff: noqa: S608  the statements are made of constants of this file

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None

# Child, column, parent, and the name of the foreign key that is replaced.
REFERENCES = (
    ("dispatch", "referral_id", "referral", "fk_dispatch_referral_id"),
    ("response", "dispatch_id", "dispatch", "fk_response_dispatch_id"),
)


def upgrade() -> None:
    """The triggers first: at no moment is nothing checked."""
    op.execute("""
        CREATE FUNCTION refuse_new_reference() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '%.% does not change', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
        END $$
    """)
    for child, column, parent, constraint in REFERENCES:
        # As the owner: whoever adds a row may not see all rows of its parent's table. And always by the index: what a
        # plan is made for is small, and what it is used for later may be millions.
        op.execute(f"""
            CREATE FUNCTION refuse_{child}_without_{parent}() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
            SET enable_hashjoin = off SET enable_mergejoin = off AS $$
            BEGIN
                IF EXISTS (SELECT FROM made WHERE NOT EXISTS
                           (SELECT FROM {parent} WHERE {parent}.id = made.{column})) THEN
                    RAISE EXCEPTION 'a {child} leads to no {parent}' USING ERRCODE = 'foreign_key_violation';
                END IF;
                RETURN NULL;
            END $$
        """)
        op.execute(f"""
            CREATE TRIGGER {child}_has_{parent} AFTER INSERT ON {child} REFERENCING NEW TABLE AS made
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_{child}_without_{parent}()
        """)
        op.execute(f"""
            CREATE TRIGGER {child}_keeps_{parent} BEFORE UPDATE OF {column} ON {child}
            FOR EACH ROW WHEN (OLD.{column} IS DISTINCT FROM NEW.{column})
            EXECUTE FUNCTION refuse_new_reference('{column}')
        """)
        op.execute(f"""
            CREATE TRIGGER {parent}_keeps_id BEFORE UPDATE OF id ON {parent}
            FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id) EXECUTE FUNCTION refuse_new_reference('id')
        """)
        op.execute(f"""
            CREATE FUNCTION refuse_{parent}_with_{child}() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
            SET enable_hashjoin = off SET enable_mergejoin = off AS $$
            BEGIN
                IF EXISTS (SELECT FROM gone WHERE EXISTS
                           (SELECT FROM {child} WHERE {child}.{column} = gone.id)) THEN
                    RAISE EXCEPTION 'a {child} leads to this {parent}' USING ERRCODE = 'foreign_key_violation';
                END IF;
                RETURN NULL;
            END $$
        """)
        op.execute(f"""
            CREATE TRIGGER {parent}_without_{child} AFTER DELETE ON {parent} REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_{parent}_with_{child}()
        """)
        op.execute(f"ALTER TABLE {child} DROP CONSTRAINT {constraint}")


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
