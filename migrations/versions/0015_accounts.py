"""People: accounts, recovery codes, sign-ins under way, failed attempts; sessions of people beside those of keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.wall import ALL, NONE, grant, ours, protect

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None


_SIGNING_IN = "password, totp, totp_step, state, setup, setup_until, issuer, subject, signed_in_at"
_NAMES = "SELECT (id, party, name, roles, state)"
_SHOWN = "id, party, username, name, roles, state, setup_until, demonstration, created_at, signed_in_at"


def upgrade() -> None:
    """New tables, and columns of `session` that what runs before this leaves to their defaults."""
    _tables()
    _sessions()
    grant(
        {
            "gateway": {
                "SELECT": "account, recovery_code, sign_in_step, sign_in_failure, data_key",
                f"UPDATE ({_SIGNING_IN})": "account",
                "INSERT": "recovery_code, sign_in_step, sign_in_failure, data_key",
                "UPDATE": "sign_in_step, sign_in_failure",
                "DELETE": "recovery_code, sign_in_step, sign_in_failure",
                "UPDATE (role, seen_at, confirmed_at)": "session",
            },
            "administrator": {
                f"SELECT ({_SHOWN})": "account",
                "INSERT, UPDATE": "account",
                "SELECT (account_id), DELETE": "recovery_code",
                "SELECT (id, account_id), DELETE": "session",
                "SELECT (whose), DELETE": "sign_in_failure",
            },
            # Whom the log means, and who a colleague is.
            "auditor": {"SELECT (id, party, username, name, roles, state)": "account"},
            **{role: {_NAMES: "account"} for role in ("originator", "agency", "coordinator", "national")},
        }
    )
    colleagues = {role: ours("party") for role in ("originator", "agency", "coordinator", "national")}
    protect({"account": {"gateway": ALL, "administrator": ALL, "auditor": ALL, **colleagues}})
    with op.get_context().autocommit_block():
        protect(
            {
                # The gateway opens what is an account's, and nothing of a referral.
                "data_key": {"gateway": "EXISTS (SELECT FROM account WHERE account.id = data_key.referral_id)"},
                "audit_event": {
                    "gateway": (
                        NONE,
                        "action LIKE 'session.%' OR action LIKE 'token.%' OR action LIKE 'account.%'",
                    )
                },
            }
        )


def _tables() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="invited", nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("totp", sa.LargeBinary(), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("setup", sa.LargeBinary(), nullable=True),
        sa.Column("setup_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("demonstration", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('invited', 'active', 'locked', 'removed')", name=op.f("ck_account_state")),
        sa.CheckConstraint("username = lower(username)", name=op.f("ck_account_username")),
        sa.ForeignKeyConstraint(["party"], ["party.code"], name=op.f("fk_account_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_account_issuer_subject")),
    )
    op.create_index(
        "ix_account_username", "account", ["username"], unique=True, postgresql_where=sa.text("state <> 'removed'")
    )
    op.create_index("ix_account_party", "account", ["party"])
    op.create_table(
        "recovery_code",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_recovery_code_account_id")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_recovery_code")),
    )
    op.create_index(op.f("ix_recovery_code_account_id"), "recovery_code", ["account_id"])
    op.create_table(
        "sign_in_step",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sign_in_step_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_step")),
    )
    op.create_index(op.f("ix_sign_in_step_expires_at"), "sign_in_step", ["expires_at"])
    op.create_table(
        "sign_in_failure",
        sa.Column("whose", sa.LargeBinary(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("whose", name=op.f("pk_sign_in_failure")),
    )
    op.create_index(op.f("ix_sign_in_failure_last_at"), "sign_in_failure", ["last_at"])


def _sessions() -> None:
    op.alter_column("session", "key_id", nullable=True)
    for column in (
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    ):
        op.add_column("session", column)
    op.create_foreign_key(op.f("fk_session_account_id"), "session", "account", ["account_id"], ["id"])
    op.create_index(op.f("ix_session_account_id"), "session", ["account_id"])
    op.create_check_constraint(
        op.f("ck_session_opened_with"), "session", "(key_id IS NULL) = (account_id IS NOT NULL AND role IS NOT NULL)"
    )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
