"""The second wall: what each role may do, and which rows it sees.

Roles are the cluster's and are there already (app.runtime.roles). Safe while the program before still runs: that signs
in as the owner, whom policies do not bind. Each table is locked for a moment and alone, so that none waits for two.
"""

from alembic import op

from migrations.wall import ALL, NONE, Grants, Policies, grant, of_referral, of_region, ours, protect, sent

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None

_REFERENCE = "party, party_revision, reference_release, routing_release, routing_rule, routing_gateway"
_LOG = "audit_event, audit_salt, audit_entry, audit_node, audit_head, audit_checkpoint, audit_witness"
_EVENT = "INSERT (operation, action, party, actor, request_id, referral_id, dispatch_id, recipients, detail)"

_OVERSEER = {
    "SELECT": f"{_REFERENCE}, referral, dispatch, response, alert, submission, data_key, ring_key, audit_event,"
    " queue_count, agency_seen, circuit, heartbeat, fan_out_try, retention, legal_hold, SEQUENCE audit_event_id_seq",
    "SELECT (agency, disabled_at)": "push_endpoint",
    "SELECT (agency, bounced_at)": "email_mailbox",
    "INSERT": "dispatch, alert, submission, data_key, ring_key, inbox_change, legal_hold, audit_salt",
    _EVENT: "audit_event",
    # What they log may have private words: a hash of these, salted.
    "INSERT (commitments)": "audit_event",
    "UPDATE (state, reason, sealed_reason, held_because, open_dispatches, updated_at)": "referral",
    "UPDATE (state, queued_at, needs_release, due_at, expires_at, next_check_at, overdue_at, chased_at, chases,"
    " due_delivery_at, closed_at, ended_because, sealed_reason)": "dispatch",
    "UPDATE (settled_at)": "alert",
    "DELETE": "fan_out_try, legal_hold",
}

GRANTS: Grants = {
    "originator": {
        "SELECT": f"{_REFERENCE}, referral, dispatch, response, message, alert, submission, data_key, subject_index,"
        " ring_key, audit_event",
        "INSERT": "referral, message, submission, data_key, subject_index, ring_key, inbox_change",
        _EVENT: "audit_event",
        "UPDATE (state, reason, sealed_reason, held_because, open_dispatches, updated_at)": "referral",
        "UPDATE (state, queried_at, due_at, expires_at, next_check_at, claim_id, claim_expires_at, due_delivery_at,"
        " closed_at)": "dispatch",
        "UPDATE (settled_at)": "alert",
        "USAGE": "SEQUENCE referral_number",
    },
    "agency": {
        "SELECT": f"{_REFERENCE}, dispatch, response, message, alert, data_key, ring_key",
        # Not whom else the originator named.
        "SELECT (id, reference, originator, region, state, priority, content, sealed, created_at, updated_at,"
        " respond_by, open_dispatches, disposed_at)": "referral",
        "INSERT": "response, alert, data_key, ring_key, inbox_change",
        _EVENT: "audit_event",
        "UPDATE (state, open_dispatches, updated_at)": "referral",
        "UPDATE (state, queried_at, delivered_at, acknowledged_at, answered_at, closed_at, cancellation_seen_at,"
        " outcome, claim_id, claim_expires_at, next_check_at, due_delivery_at)": "dispatch",
        "UPDATE (settled_at)": "alert",
    },
    "coordinator": _OVERSEER,
    "national": _OVERSEER,
    "auditor": {"SELECT": f"{_LOG}, SEQUENCE audit_event_id_seq", _EVENT: "audit_event"},
    "administrator": {
        "SELECT": f"{_REFERENCE}, audit_entry, audit_node, audit_head, audit_checkpoint, audit_witness",
        # Not the hashes of secrets.
        "SELECT (id, party, role, label, created_at, revoked_at, scope, networks, expires_at, last_used_at, replaces,"
        " asked_as, sameness)": "api_key",
        "INSERT": "api_key",
        "UPDATE (revoked_at, expires_at)": "api_key",
        _EVENT: "audit_event",
    },
    "gateway": {
        "SELECT": f"{_REFERENCE}, api_key, session, revoked_token, agency_seen, ring_key, inbox_change",
        "INSERT": "session, revoked_token, agency_seen, ring_key",
        _EVENT: "audit_event",
        "UPDATE (last_used_at)": "api_key",
        "UPDATE (last_seen_at)": "agency_seen",
        "DELETE": "session, revoked_token, inbox_change",
    },
    "worker": {
        "SELECT": f"{_REFERENCE}, {_LOG}, referral, dispatch, response, alert, data_key, ring_key, queue_count,"
        " push_endpoint, email_mailbox, notice_count, circuit, heartbeat, fan_out_try, agency_seen,"
        " retention, SEQUENCE audit_event_id_seq",
        "INSERT": "dispatch, response, alert, data_key, ring_key, inbox_change, queue_count, notice_count, circuit,"
        " heartbeat, fan_out_try, agency_seen, retention, audit_entry, audit_node, audit_checkpoint, audit_witness",
        _EVENT: "audit_event",
        "UPDATE (state, held_because, open_dispatches, updated_at, reason, sealed_reason)": "referral",
        "UPDATE": "dispatch, notice_count, circuit, heartbeat, fan_out_try, agency_seen, retention, audit_head,"
        " audit_witness",
        "UPDATE (settled_at)": "alert",
        "UPDATE (disabled_at, disabled_reason)": "push_endpoint",
        "UPDATE (bounced_at, bounce_reason)": "email_mailbox",
        "DELETE": "queue_count, circuit, fan_out_try",
    },
}

_COMPLETION = "party = 'GAIN' AND actor = 'lifecycle' AND action = 'referral.completed'"
_WRITTEN = f"{ours('party')} OR {_COMPLETION}"
_TIMELINE = f"operation <> 'consultation' AND {of_referral('audit_event')}"
_SIGNING_IN = "action LIKE 'session.%' OR action LIKE 'token.%'"

# The rows that a role sees, and (where others) those it may write.
POLICIES: Policies = {
    "referral": {
        "originator": ours("originator"),
        "agency": "EXISTS (SELECT FROM dispatch WHERE dispatch.referral_id = referral.id)",
        "coordinator": of_region(),
        "national": ALL,
        "worker": ALL,
    },
    "dispatch": {
        "originator": of_referral("dispatch"),
        "agency": f"{ours('agency')} AND queued_at IS NOT NULL",
        # As the indexes of what waits have it.
        "coordinator": of_region("coalesce(region, '')"),
        "national": ALL,
        "worker": ALL,
    },
    "response": {
        "originator": f"flag IS NULL AND {of_referral('response')}",
        "agency": (
            ours("agency"),
            f"{ours('agency')} AND EXISTS (SELECT FROM dispatch WHERE dispatch.id = response.dispatch_id"
            " AND dispatch.referral_id = response.referral_id)",
        ),
        "coordinator": of_referral("response"),
        "national": ALL,
        "worker": ALL,
    },
    "message": {
        "originator": (of_referral("message"), f"{ours('sender')} AND {of_referral('message')}"),
        "agency": "EXISTS (SELECT FROM dispatch WHERE dispatch.id = message.dispatch_id)",
    },
    "alert": {
        "originator": of_referral("alert"),
        "agency": ours("agency"),
        "coordinator": of_region(),
        "national": ALL,
        "worker": ALL,
    },
    "submission": {
        "originator": ours("party"),
        "coordinator": ours("party"),
        "national": ours("party"),
    },
    # With a new referral, in its statement: what that inserts, no condition can see yet.
    "data_key": {
        "originator": (of_referral("data_key"), ALL),
        "agency": sent("data_key"),
        "coordinator": of_referral("data_key"),
        "national": ALL,
        "worker": ALL,
    },
    "subject_index": {"originator": (of_referral("subject_index"), ALL)},
    "fan_out_try": {"coordinator": of_referral("fan_out_try"), "national": ALL, "worker": ALL},
    "retention": {"coordinator": of_referral("retention"), "national": ALL, "worker": ALL},
    "legal_hold": {"coordinator": of_referral("legal_hold"), "national": ALL},
    "queue_count": {"coordinator": of_region(), "national": ALL, "worker": ALL},
    "inbox_change": {
        "originator": (NONE, ALL),
        "agency": (NONE, ALL),
        "coordinator": (NONE, ALL),
        "national": (NONE, ALL),
        "gateway": (ALL, NONE),
        "worker": (NONE, ALL),
    },
    "audit_event": {
        "originator": (_TIMELINE, _WRITTEN),
        "agency": (NONE, _WRITTEN),
        "coordinator": (_TIMELINE, _WRITTEN),
        "national": (_TIMELINE, _WRITTEN),
        "auditor": (ALL, _WRITTEN),
        "administrator": (NONE, _WRITTEN),
        "gateway": (NONE, _SIGNING_IN),
        "worker": ALL,
    },
}

# What these write, whoever's statement they count, is nobody's to write himself.
_COUNTERS = ("count_insert", "count_update", "count_delete")


def upgrade() -> None:
    """Functions, then grants, then a table at a time."""
    # After a transaction the setting is not gone, but empty.
    op.execute("""
        CREATE OR REPLACE FUNCTION acting_for() RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
            SELECT CAST(nullif(current_setting('gain.parties', true), '') AS text[])
        $$
    """)
    # In the order of the partial index, and bounded: app.referrals.gauge. It tells numbers, and of no referral.
    op.execute("""
        CREATE OR REPLACE FUNCTION backlog(most integer)
        RETURNS TABLE (referrals bigint, seconds double precision, workers_silent double precision)
        LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
            SELECT count(*),
                   CAST(extract(epoch FROM clock_timestamp() - min(updated_at) FILTER (WHERE referral_id IS NULL))
                        AS double precision),
                   (SELECT CAST(extract(epoch FROM clock_timestamp() - at) AS double precision)
                      FROM heartbeat WHERE part = 'worker')
              FROM (SELECT id, updated_at FROM referral WHERE state = 'accepted' ORDER BY priority, id
                     LIMIT most) AS waiting
              LEFT JOIN fan_out_try ON fan_out_try.referral_id = waiting.id
        $$
    """)
    op.execute("REVOKE ALL ON FUNCTION backlog(integer) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION backlog(integer) TO gain_as_gateway")
    for function in _COUNTERS:
        op.execute(f"ALTER FUNCTION {function}() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp")
    grant(GRANTS)
    # VACUUM is no part of a transaction, and so acts for nobody.
    op.execute("GRANT MAINTAIN ON queue_count TO gain_worker")
    with op.get_context().autocommit_block():
        protect(POLICIES)


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
