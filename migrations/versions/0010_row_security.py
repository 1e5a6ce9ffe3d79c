"""The second wall: what each role may do, and which rows it sees.

Roles are the cluster's and are there already (app.runtime.roles). Safe while the program before still runs: that signs
in as the owner, whom policies do not bind. Each table is locked for a moment and alone, so that none waits for two.
"""

from collections.abc import Iterator

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None

ROLES = ("originator", "agency", "coordinator", "national", "auditor", "administrator", "gateway", "worker")
_REFERENCE = "party, party_revision, reference_release, routing_release, routing_rule, routing_gateway"
_LOG = "audit_event, audit_salt, audit_entry, audit_node, audit_head, audit_checkpoint, audit_witness"
_EVENT = "INSERT (operation, action, party, actor, request_id, referral_id, dispatch_id, recipients, detail)"

_OVERSEER = {
    "SELECT": f"{_REFERENCE}, referral, dispatch, response, alert, submission, data_key, ring_key, audit_event,"
    " queue_count, agency_seen, circuit, heartbeat, fan_out_try",
    "SELECT (agency, disabled_at)": "push_endpoint",
    "SELECT (agency, bounced_at)": "email_mailbox",
    "INSERT": "dispatch, alert, submission, data_key, ring_key, inbox_change",
    _EVENT: "audit_event",
    "UPDATE (state, reason, sealed_reason, held_because, open_dispatches, updated_at)": "referral",
    "UPDATE (state, queued_at, needs_release, due_at, expires_at, next_check_at, overdue_at, chased_at, chases,"
    " due_delivery_at, closed_at, ended_because, sealed_reason)": "dispatch",
    "UPDATE (settled_at)": "alert",
    "DELETE": "fan_out_try",
}

GRANTS: dict[str, dict[str, str]] = {
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
        " respond_by, open_dispatches)": "referral",
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
        " SEQUENCE audit_event_id_seq",
        "INSERT": "dispatch, response, alert, data_key, ring_key, inbox_change, queue_count, notice_count, circuit,"
        " heartbeat, fan_out_try, agency_seen, audit_entry, audit_node, audit_checkpoint, audit_witness",
        _EVENT: "audit_event",
        "UPDATE (state, held_because, open_dispatches, updated_at, reason, sealed_reason)": "referral",
        "UPDATE": "dispatch, notice_count, circuit, heartbeat, fan_out_try, agency_seen, audit_head, audit_witness",
        "UPDATE (settled_at)": "alert",
        "UPDATE (disabled_at, disabled_reason)": "push_endpoint",
        "UPDATE (bounced_at, bounce_reason)": "email_mailbox",
        "DELETE": "queue_count, circuit, fan_out_try",
    },
}

_NONE, _ALL = "false", "true"


def _ours(column: str) -> str:
    """The row belongs to one of the parties that the transaction acts for. The look at the setting is made once."""
    return f"{column} = ANY (CAST((SELECT acting_for()) AS text[]))"


def _of_region(column: str = "region") -> str:
    """The same of a region: a co-ordinator acts for one. Equality keeps the order that an index has after it."""
    return f"{column} = (SELECT (acting_for())[1])"


def _of_referral(table: str) -> str:
    """The role sees the row's referral: that has a policy of its own."""
    return f"EXISTS (SELECT FROM referral WHERE referral.id = {table}.referral_id)"


def _sent(table: str) -> str:
    """The row's referral is in an inbox of the agency's: what it sees of `dispatch` is that."""
    return f"EXISTS (SELECT FROM dispatch WHERE dispatch.referral_id = {table}.referral_id)"


_COMPLETION = "party = 'GAIN' AND actor = 'lifecycle' AND action = 'referral.completed'"
_WRITTEN = f"{_ours('party')} OR {_COMPLETION}"
_TIMELINE = f"operation <> 'consultation' AND {_of_referral('audit_event')}"
_SIGNING_IN = "action LIKE 'session.%' OR action LIKE 'token.%'"

# The rows that a role sees, and (where others) those it may write.
POLICIES: dict[str, dict[str, str | tuple[str, str]]] = {
    "referral": {
        "originator": _ours("originator"),
        "agency": "EXISTS (SELECT FROM dispatch WHERE dispatch.referral_id = referral.id)",
        "coordinator": _of_region(),
        "national": _ALL,
        "worker": _ALL,
    },
    "dispatch": {
        "originator": _of_referral("dispatch"),
        "agency": f"{_ours('agency')} AND queued_at IS NOT NULL",
        # As the indexes of what waits have it.
        "coordinator": _of_region("coalesce(region, '')"),
        "national": _ALL,
        "worker": _ALL,
    },
    "response": {
        "originator": f"flag IS NULL AND {_of_referral('response')}",
        "agency": (
            _ours("agency"),
            f"{_ours('agency')} AND EXISTS (SELECT FROM dispatch WHERE dispatch.id = response.dispatch_id"
            " AND dispatch.referral_id = response.referral_id)",
        ),
        "coordinator": _of_referral("response"),
        "national": _ALL,
        "worker": _ALL,
    },
    "message": {
        "originator": (_of_referral("message"), f"{_ours('sender')} AND {_of_referral('message')}"),
        "agency": "EXISTS (SELECT FROM dispatch WHERE dispatch.id = message.dispatch_id)",
    },
    "alert": {
        "originator": _of_referral("alert"),
        "agency": _ours("agency"),
        "coordinator": _of_region(),
        "national": _ALL,
        "worker": _ALL,
    },
    "submission": {
        "originator": _ours("party"),
        "coordinator": _ours("party"),
        "national": _ours("party"),
    },
    # With a new referral, in its statement: what that inserts, no condition can see yet.
    "data_key": {
        "originator": (_of_referral("data_key"), _ALL),
        "agency": _sent("data_key"),
        "coordinator": _of_referral("data_key"),
        "national": _ALL,
        "worker": _ALL,
    },
    "subject_index": {"originator": (_of_referral("subject_index"), _ALL)},
    "fan_out_try": {"coordinator": _of_referral("fan_out_try"), "national": _ALL, "worker": _ALL},
    "queue_count": {"coordinator": _of_region(), "national": _ALL, "worker": _ALL},
    "inbox_change": {
        "originator": (_NONE, _ALL),
        "agency": (_NONE, _ALL),
        "coordinator": (_NONE, _ALL),
        "national": (_NONE, _ALL),
        "gateway": (_ALL, _NONE),
        "worker": (_NONE, _ALL),
    },
    "audit_event": {
        "originator": (_TIMELINE, _WRITTEN),
        "agency": (_NONE, _WRITTEN),
        "coordinator": (_TIMELINE, _WRITTEN),
        "national": (_TIMELINE, _WRITTEN),
        "auditor": (_ALL, _WRITTEN),
        "administrator": (_NONE, _WRITTEN),
        "gateway": (_NONE, _SIGNING_IN),
        "worker": _ALL,
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
    for statement in _grants():
        op.execute(statement)
    with op.get_context().autocommit_block():
        for table in POLICIES:
            op.execute(f"DO $do$ BEGIN {'; '.join(_policies(table))}; END $do$")


def _grants() -> Iterator[str]:
    for role, granted in GRANTS.items():
        for privilege, objects in granted.items():
            tables = [name for name in objects.split(", ") if not name.startswith("SEQUENCE ")]
            if tables:
                yield f"GRANT {privilege} ON {', '.join(tables)} TO gain_as_{role}"
            for sequence in (name for name in objects.split(", ") if name.startswith("SEQUENCE ")):
                yield f"GRANT {privilege} ON {sequence} TO gain_as_{role}"
    # VACUUM is no part of a transaction, and so acts for nobody.
    yield "GRANT MAINTAIN ON queue_count TO gain_worker"


def _policies(table: str) -> Iterator[str]:
    for role, condition in POLICIES[table].items():
        seen, written = condition if isinstance(condition, tuple) else (condition, condition)
        yield f"DROP POLICY IF EXISTS {table}_{role} ON {table}"
        yield f"CREATE POLICY {table}_{role} ON {table} TO gain_as_{role} USING ({seen}) WITH CHECK ({written})"
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
