"""The audit tree: places and hashes of the log's entries, signed checkpoints, and one guarded way to prune.

What the log holds already is sealed by the first scheduler that runs afterwards.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Six tables, a column without a default (nothing is rewritten), and triggers."""
    op.add_column("audit_event", sa.Column("commitments", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    _tables()
    op.execute("INSERT INTO audit_head DEFAULT VALUES")
    _guards()


def _tables() -> None:
    op.create_table(
        "audit_salt",
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["audit_event.id"], name=op.f("fk_audit_salt_event_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_salt")),
    )
    op.create_table(
        "audit_entry",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_entry_event_id")),
    )
    op.create_table(
        "audit_node",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "place", name=op.f("pk_audit_node")),
    )
    op.create_table(
        "audit_head",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("size", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), server_default=sa.text("''::bytea"), nullable=False),
        sa.Column("sealed_to", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("holes", postgresql.INT8MULTIRANGE(), server_default=sa.text("'{}'::int8multirange"), nullable=False),
        sa.Column("closing", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lockers", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("pruned", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_audit_head_single")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_witness",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signatures", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_audit_witness")),
    )


def _guards() -> None:
    for table in ("audit_entry", "audit_node", "audit_checkpoint"):
        op.execute(f"""
            CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)
    op.execute("""
        CREATE TRIGGER audit_head_stays BEFORE DELETE OR TRUNCATE ON audit_head
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """)
    op.execute("""
        CREATE FUNCTION refuse_shrinking() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.size < OLD.size OR NEW.sealed_to < OLD.sealed_to OR NEW.pruned < OLD.pruned
               OR NEW.pruned > NEW.size THEN
                RAISE EXCEPTION 'the log only grows' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER audit_head_grows BEFORE UPDATE ON audit_head FOR EACH ROW EXECUTE FUNCTION refuse_shrinking()
    """)
    # Events go only by pruning: from the beginning of the log, and after the head says so, which the log itself tells.
    op.execute("""
        CREATE FUNCTION refuse_unless_pruning() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('gain.pruning', true) IS DISTINCT FROM 'on' THEN
                RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE FUNCTION refuse_unpruned() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (SELECT FROM audit_entry, audit_head
                            WHERE audit_entry.event_id = OLD.id AND audit_entry.sequence < audit_head.pruned) THEN
                RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN OLD;
        END $$
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER audit_event_append_only BEFORE UPDATE OR TRUNCATE ON audit_event
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER audit_event_pruning BEFORE DELETE ON audit_event
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_unless_pruning()
    """)
    op.execute("""
        CREATE TRIGGER audit_event_pruned BEFORE DELETE ON audit_event
        FOR EACH ROW EXECUTE FUNCTION refuse_unpruned()
    """)


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
