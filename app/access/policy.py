"""Who may do what: one pure table of role and action, giving the relation a row must have to the caller."""

from collections.abc import Iterable
from enum import StrEnum

from app.parties.codes import PartyKind


class Role(StrEnum):
    """What a credential is for. A key has one role; a person may have several, and acts in one at a time."""

    ORIGINATOR = "originator"
    AGENCY = "agency"
    COORDINATOR = "coordinator"
    NATIONAL = "national"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


class Relation(StrEnum):
    """Which rows an action reaches; all others answer 404, as what does not exist."""

    OWN = "own"  # the caller's party submitted the referral, or the policy is its own
    ADDRESSED = "addressed"  # the dispatch went to the caller's party
    REGION = "region"  # the originator belongs to the caller's region
    ALL = "all"
    SELF = "self"  # the caller's own account and sessions


class Action(StrEnum):
    """Everything a route can declare. A route without one keeps the gateway from starting.

    What only reads is called `read_…` or `see_…`: a key's scope `read` is made of these.
    """

    SUBMIT_REFERRAL = "submit_referral"
    READ_OWN_REFERRALS = "read_own_referrals"
    READ_REFERRAL = "read_referral"
    READ_RESPONSES = "read_responses"
    CANCEL_REFERRAL = "cancel_referral"
    SUBMIT_BATCH = "submit_batch"
    READ_BATCH = "read_batch"
    RECORD_OUTCOME = "record_outcome"
    READ_OWN_DUPLICATES = "read_own_duplicates"
    READ_INBOX = "read_inbox"
    ANSWER = "answer"
    SEND_MESSAGE = "send_message"
    ASK_CONSENT = "ask_consent"
    DECIDE_CONSENT = "decide_consent"
    COORDINATE = "coordinate"
    READ_DUPLICATES = "read_duplicates"
    READ_RETENTION = "read_retention"
    READ_QUEUES = "read_queues"
    SEE_STATUS_PAGE = "see_status_page"
    READ_REPORTS = "read_reports"
    READ_AGENCY_REPORT = "read_agency_report"
    READ_METRICS = "read_metrics"
    READ_LOG = "read_log"
    SEARCH_LOG = "search_log"
    READ_CHECKPOINT = "read_checkpoint"
    READ_KEYS = "read_keys"
    MANAGE_KEYS = "manage_keys"
    READ_USERS = "read_users"
    MANAGE_USERS = "manage_users"
    READ_POLICY = "read_policy"
    MANAGE_POLICY = "manage_policy"
    SEE_ACCOUNT = "see_account"
    CHANGE_ACCOUNT = "change_account"


_EVERYBODY = dict.fromkeys(Role, Relation.SELF)
_OVERSEERS = {Role.COORDINATOR: Relation.REGION, Role.NATIONAL: Relation.ALL}

POLICY: dict[Action, dict[Role, Relation]] = {
    Action.SUBMIT_REFERRAL: {Role.ORIGINATOR: Relation.OWN},
    Action.READ_OWN_REFERRALS: {Role.ORIGINATOR: Relation.OWN},
    Action.READ_REFERRAL: {Role.ORIGINATOR: Relation.OWN, **_OVERSEERS},
    Action.READ_RESPONSES: {Role.ORIGINATOR: Relation.OWN, **_OVERSEERS},
    Action.CANCEL_REFERRAL: {Role.ORIGINATOR: Relation.OWN},
    Action.SUBMIT_BATCH: {Role.ORIGINATOR: Relation.OWN},
    Action.READ_BATCH: {Role.ORIGINATOR: Relation.OWN},
    Action.RECORD_OUTCOME: {Role.ORIGINATOR: Relation.OWN},
    Action.READ_OWN_DUPLICATES: {Role.ORIGINATOR: Relation.OWN},
    Action.READ_INBOX: {Role.AGENCY: Relation.ADDRESSED},
    Action.ANSWER: {Role.AGENCY: Relation.ADDRESSED},
    Action.SEND_MESSAGE: {Role.ORIGINATOR: Relation.OWN},
    Action.ASK_CONSENT: {Role.ORIGINATOR: Relation.OWN, **_OVERSEERS},
    Action.DECIDE_CONSENT: {Role.AGENCY: Relation.ADDRESSED},
    Action.COORDINATE: _OVERSEERS,
    Action.READ_DUPLICATES: _OVERSEERS,
    Action.READ_RETENTION: _OVERSEERS,
    Action.READ_QUEUES: _OVERSEERS,
    Action.SEE_STATUS_PAGE: _OVERSEERS,
    Action.READ_REPORTS: {Role.ORIGINATOR: Relation.OWN, **_OVERSEERS},
    Action.READ_AGENCY_REPORT: _OVERSEERS,
    Action.READ_LOG: {Role.AUDITOR: Relation.ALL},
    Action.SEARCH_LOG: {Role.AUDITOR: Relation.ALL},
    Action.READ_CHECKPOINT: {Role.AUDITOR: Relation.ALL, Role.ADMINISTRATOR: Relation.ALL},
    Action.READ_METRICS: {Role.ADMINISTRATOR: Relation.ALL, Role.NATIONAL: Relation.ALL},
    Action.READ_KEYS: {Role.ADMINISTRATOR: Relation.ALL},
    Action.MANAGE_KEYS: {Role.ADMINISTRATOR: Relation.ALL},
    Action.READ_USERS: {Role.ADMINISTRATOR: Relation.ALL},
    Action.MANAGE_USERS: {Role.ADMINISTRATOR: Relation.ALL},
    Action.READ_POLICY: {Role.AGENCY: Relation.OWN},
    Action.MANAGE_POLICY: {Role.AGENCY: Relation.OWN},
    Action.SEE_ACCOUNT: _EVERYBODY,
    Action.CHANGE_ACCOUNT: _EVERYBODY,
}


FOR_MANAGERS = frozenset({Action.MANAGE_POLICY})
"""What a person needs to be their party's manager for, beside the role."""


def relation(role: Role, action: Action) -> Relation | None:
    """The relation a row must have to the caller, or None where the role may not do that at all (403)."""
    return POLICY[action].get(role)


_ROLES: dict[PartyKind, tuple[Role, ...]] = {
    PartyKind.FORCE: (Role.ORIGINATOR,),
    PartyKind.REGION: (Role.COORDINATOR, Role.ORIGINATOR),
    PartyKind.AGENCY: (Role.AGENCY, Role.ORIGINATOR),
    PartyKind.LOCAL_AUTHORITY: (Role.AGENCY, Role.ORIGINATOR),
    PartyKind.FIRE_SERVICE: (Role.AGENCY, Role.ORIGINATOR),
    PartyKind.PRIVATE: (Role.AGENCY,),
    PartyKind.NATIONAL: (Role.NATIONAL, Role.AUDITOR, Role.ADMINISTRATOR),
}


def roles_of(kind: PartyKind) -> tuple[Role, ...]:
    """The roles a key of a party of this kind may have; the first is the default."""
    return _ROLES[kind]


READ = "read"
"""The word for a scope of everything that a role may read."""


def actions_of(role: Role) -> frozenset[Action]:
    """All that a role may do to what others have a part in: what a key's scope is made of."""
    return frozenset(action for action, roles in POLICY.items() if roles.get(role, Relation.SELF) is not Relation.SELF)


def only_reads(action: Action) -> bool:
    """Whether an action changes nothing but the log, and what reading itself means (an item is then delivered)."""
    return action.value.startswith(("read_", "see_"))


def scope_of(role: Role, words: Iterable[str]) -> frozenset[Action]:
    """The part of what a role may do that these words name: actions, or `read`. `ValueError` for any other word."""
    allowed = actions_of(role)
    chosen: set[Action] = set()
    for word in words:
        named = {action for action in allowed if word == action.value or (word == READ and only_reads(action))}
        if not named:
            raise ValueError(f"a scope of {role} is made of {', '.join([READ, *sorted(allowed)])}")
        chosen |= named
    return frozenset(chosen)
