"""A timeline shows each its own part of the log; a search of the log takes what the log knows; consent is committed to.

Safe while the program before still runs: narrower policies, under which its timelines are shorter; more grants; and an
index made beside the work.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import Grants, Policies, grant, of_referral, of_region, ours, protect

revision: str = "0029"
down_revision: str | None = "0028"
branch_labels: str | None = None
depends_on: str | None = None

# As in app.referrals.timeline on the day of this migration; tests/app/test_timeline.py compares what each sees.
FORCE = (
    *("referral.accepted", "referral.dispatched", "referral.addressees_added", "referral.held", "referral.released"),
    *("referral.rejected", "referral.cancelled", "referral.completed", "referral.disposed"),
    *("dispatch.delivered", "dispatch.acknowledged", "dispatch.held", "dispatch.released", "dispatch.chased"),
    *("dispatch.overdue", "dispatch.extended", "dispatch.expired", "dispatch.undeliverable", "dispatch.redelivered"),
    *("dispatch.cancelled", "dispatch.cancellation_seen", "response.recorded", "message.sent", "outcome.recorded"),
    *("consent.asked", "consent.chased", "consent.given", "consent.refused", "consent.withdrawn"),
)
OVERSEER = (
    *FORCE,
    *("dispatch.noted", "response.conflict", "response.no_longer_open"),
    *("referral.legal_hold_set", "referral.legal_hold_lifted", "retention.reviewed"),
)

_COMPLETION = "party = 'GAIN' AND actor = 'lifecycle' AND action = 'referral.completed'"


def _timeline(actions: tuple[str, ...]) -> str:
    return f"action IN ({', '.join(map(repr, actions))}) AND {of_referral('audit_event')}"


# What each may write stays as it was.
POLICIES: Policies = {
    "audit_event": {
        "originator": (_timeline(FORCE), f"{ours('party')} OR {_COMPLETION}"),
        "coordinator": (_timeline(OVERSEER), f"{of_region('party')} OR {_COMPLETION}"),
        "national": (_timeline(OVERSEER), f"{ours('party')} OR {_COMPLETION}"),
    }
}

GRANTS: Grants = {
    # To whom outside a body has consented is in the log as a commitment.
    "agency": {
        "INSERT (commitments)": "audit_event",
        "INSERT": "audit_salt",
        "SELECT": "SEQUENCE audit_event_id_seq",
    },
    # Whether there is such a key, such a party: not what they are.
    "auditor": {"SELECT (id)": "api_key", "SELECT (code)": "party"},
}


def upgrade() -> None:
    """Grants, an index, policies."""
    grant(GRANTS)
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_audit_event_operator",
            "audit_event",
            ["actor"],
            postgresql_where=sa.text("actor LIKE 'command:%' OR actor LIKE 'operator %'"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        protect(POLICIES)


def downgrade() -> None:
    """Never: migrations only go forward."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
