"""What each role may see of each table, said in plain SQL of its own."""

# ruff: noqa: S608  names of tables and columns cannot be parameters; none comes from outside

from collections.abc import Mapping

from app.access.policy import Role
from app.schema import metadata

BY_GRANT_ALONE: Mapping[str, str] = {
    **dict.fromkeys(
        ["party", "party_revision", "reference_release", "routing_release", "routing_rule", "routing_gateway"],
        "reference data, published with the broker",
    ),
    **dict.fromkeys(["api_key", "session", "revoked_token"], "the gateway's look-up of who asks, before it is known"),
    **dict.fromkeys(["recovery_code", "sign_in_step", "sign_in_failure"], "the gateway's own, of people signing in"),
    **dict.fromkeys(
        ["push_endpoint", "email_mailbox", "notice_count"], "set by command, read by workers; of no referral"
    ),
    **dict.fromkeys(["agency_seen", "circuit", "heartbeat", "ring_key"], "signs of life and proofs; of no referral"),
    **dict.fromkeys(
        ["audit_salt", "audit_entry", "audit_node", "audit_head", "audit_checkpoint", "audit_witness"],
        "hashes, for sealer and auditor",
    ),
}
"""Tables without row-level security, and why: their rows are all alike to each role that may read them at all."""

PUBLISHED = frozenset({"own_policy"})
"""What everybody sees alike who may read it at all: only writing is walled."""

WALLED = sorted(metadata.tables.keys() - BY_GRANT_ALONE.keys())

UNSEEN = [table for table in WALLED if table not in PUBLISHED]
"""Of which a party without rows of its own sees none."""

NO_READS = "operation <> 'consultation' AND action !~ '[.](read|combined|assigned)$'"

OVERSEEN: Mapping[Role, str] = {
    Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
    Role.NATIONAL: "true",
}

REPORTED: Mapping[Role, str] = {
    Role.ORIGINATOR: "party = :party AND report IN ('referrals', 'outcomes')",
    Role.COORDINATOR: "region = :party",
    Role.NATIONAL: "true",
}

SEEN: Mapping[str, Mapping[Role, str]] = {
    "referral": {
        Role.ORIGINATOR: "originator = :party",
        Role.AGENCY: "id IN (SELECT referral_id FROM dispatch WHERE agency = :party AND queued_at IS NOT NULL)",
        Role.COORDINATOR: "region = :party",
        Role.NATIONAL: "true",
        Role.AUDITOR: "true",
    },
    "dispatch": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.AGENCY: "agency = :party AND queued_at IS NOT NULL",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "response": {
        Role.ORIGINATOR: "flag IS NULL AND referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.AGENCY: "agency = :party",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "message": {
        Role.ORIGINATOR: "sender = :party",
        Role.AGENCY: "dispatch_id IN (SELECT id FROM dispatch WHERE agency = :party)",
    },
    "submission": {Role.ORIGINATOR: "party = :party"},
    "draft": {Role.ORIGINATOR: "party = :party"},
    "data_key": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)"
        " OR referral_id IN (SELECT id FROM draft WHERE party = :party)",
        Role.AGENCY: "referral_id IN (SELECT referral_id FROM dispatch WHERE agency = :party)",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party"
        " UNION ALL SELECT id FROM handover_note WHERE party = :party)",
        Role.NATIONAL: "true",
    },
    "subject_index": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "cover": {Role.COORDINATOR: ":party IN (region, by_region)", Role.NATIONAL: "true"},
    "handover_note": {Role.COORDINATOR: "party = :party", Role.NATIONAL: "true"},
    "referral_outcome": {
        Role.ORIGINATOR: "originator = :party",
        Role.COORDINATOR: "region = :party",
        Role.NATIONAL: "true",
    },
    "useful_answer": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "consent": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.AGENCY: "agency = :party",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "duplicate": {
        Role.COORDINATOR: "earlier IN (SELECT id FROM referral WHERE region = :party)"
        " OR later IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "alert": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.AGENCY: "agency = :party",
        Role.COORDINATOR: "region = :party",
        Role.NATIONAL: "true",
    },
    "queue_count": {Role.COORDINATOR: "region = :party", Role.NATIONAL: "true"},
    "audit_event": {
        # Neither reads nor what is the co-ordinator's: tests/app/test_timeline.py tries every kind of event.
        Role.ORIGINATOR: f"{NO_READS} AND action !~ '^(response[.](conflict|no_longer)|retention|referral.legal_hold)'"
        " AND action <> 'dispatch.noted' AND referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.COORDINATOR: f"{NO_READS} AND referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: f"{NO_READS} AND referral_id IS NOT NULL",
        Role.AUDITOR: "true",
    },
    "batch": {Role.ORIGINATOR: "party = :party"},
    "batch_row": {Role.ORIGINATOR: "batch_id IN (SELECT id FROM batch WHERE party = :party)"},
    "batch_error": {Role.ORIGINATOR: "batch_id IN (SELECT id FROM batch WHERE party = :party)"},
    "fan_out_try": OVERSEEN,
    "retention": OVERSEEN,
    "legal_hold": OVERSEEN,
    "assignment": {Role.AGENCY: "agency = :party"},
    "answer_draft": {Role.AGENCY: "agency = :party"},
    "own_policy": dict.fromkeys((Role.ORIGINATOR, Role.AGENCY, Role.COORDINATOR, Role.NATIONAL), "true"),
    "report_change": REPORTED,
    "report_month": REPORTED,
    "report_hour": {Role.COORDINATOR: "region = :party", Role.NATIONAL: "true"},
    "account": {
        **dict.fromkeys((Role.ORIGINATOR, Role.AGENCY, Role.COORDINATOR, Role.NATIONAL), "party = :party"),
        Role.AUDITOR: "true",
        Role.ADMINISTRATOR: "true",
    },
}
"""What each role's party sees of each table, in words of their own: everybody else sees nothing."""
