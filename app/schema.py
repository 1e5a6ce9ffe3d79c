"""Every table of the broker, so that `Base.metadata` is whole. Migrations and tests import this."""

from app.access import covers
from app.access import models as access_models
from app.access.accounts import models as account_models
from app.audit import models as audit_models
from app.crypto import models as crypto_models
from app.db import Base
from app.parties import channels as channels_models
from app.parties import models as parties_models
from app.parties import own_policy as own_policy_models
from app.referrals import answer_drafts as answer_drafts_models
from app.referrals import assignments as assignments_models
from app.referrals import circuits as circuits_models
from app.referrals import consents as consents_models
from app.referrals import drafts as drafts_models
from app.referrals import duplicates as duplicates_models
from app.referrals import fan_out_tries as fan_out_tries_models
from app.referrals import heartbeat as heartbeat_models
from app.referrals import models as referrals_models
from app.referrals import outcomes as outcomes_models
from app.referrals.batches import models as batches_models
from app.reporting import aggregates, counters, handover
from app.retention import models as retention_models
from app.routing import models as routing_models

metadata = Base.metadata
"""The metadata of all tables."""

__all__ = [
    "access_models",
    "account_models",
    "aggregates",
    "answer_drafts_models",
    "assignments_models",
    "audit_models",
    "batches_models",
    "channels_models",
    "circuits_models",
    "consents_models",
    "counters",
    "covers",
    "crypto_models",
    "drafts_models",
    "duplicates_models",
    "fan_out_tries_models",
    "handover",
    "heartbeat_models",
    "metadata",
    "outcomes_models",
    "own_policy_models",
    "parties_models",
    "referrals_models",
    "retention_models",
    "routing_models",
]
