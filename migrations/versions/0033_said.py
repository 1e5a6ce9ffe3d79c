"""What was said about an item is measured where the item is; an alert of the clock stands in the timeline.

Safe while the program before still runs: it leaves the column alone, so that what is said through it counts as nothing,
and shows no event that it does not know.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import Policies, grant, of_referral, of_region, ours, protect

revision: str = "0033"
down_revision: str | None = "0032"
branch_labels: str | None = None
depends_on: str | None = None

# As in app.referrals.timeline on the day of this migration; tests/app/test_timeline.py compares what each sees.
FORCE = (
    *("referral.accepted", "referral.dispatched", "referral.addressees_added", "referral.held", "referral.released"),
    *("referral.rejected", "referral.cancelled", "referral.completed", "referral.disposed"),
    *("dispatch.delivered", "dispatch.acknowledged", "dispatch.held", "dispatch.released", "dispatch.alerted"),
    *("dispatch.chased", "dispatch.overdue", "dispatch.extended", "dispatch.expired", "dispatch.undeliverable"),
    *("dispatch.redelivered", "dispatch.cancelled", "dispatch.cancellation_seen", "response.recorded", "message.sent"),
    *("outcome.recorded", "consent.asked", "consent.chased", "consent.given", "consent.refused", "consent.withdrawn"),
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


def upgrade() -> None:
    """A column, who may write it, and policies. No row is written."""
    said = sa.Column("said_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("dispatch", said, if_not_exists=True)  # the policies come after its commit
    says = {"UPDATE (said_bytes)": "dispatch"}
    grant({"agency": says, "originator": says})
    with op.get_context().autocommit_block():
        protect(POLICIES)


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
