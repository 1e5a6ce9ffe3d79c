"""Who may do what: one pure table of role and action, giving the relation a row must have to the caller."""

from enum import StrEnum

from app.parties.codes import PartyKind


class Role(StrEnum):
    """What a credential is for. A key has one role."""

    ORIGINATOR = "originator"
    AGENCY = "agency"
    COORDINATOR = "coordinator"
    NATIONAL = "national"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


class Relation(StrEnum):
    """Which rows an action reaches; all others answer 404, as what does not exist."""

    OWN = "own"  # the caller's party submitted the referral
    ADDRESSED = "addressed"  # the dispatch went to the caller's party
    REGION = "region"  # the originator belongs to the caller's region
    ALL = "all"


class Action(StrEnum):
    """Everything a route can declare. A route without one keeps the gateway from starting."""

    SUBMIT_REFERRAL = "submit_referral"
    READ_REFERRAL = "read_referral"
    READ_RESPONSES = "read_responses"
    CANCEL_REFERRAL = "cancel_referral"
    READ_INBOX = "read_inbox"
    ANSWER = "answer"
    SEND_MESSAGE = "send_message"
    COORDINATE = "coordinate"
    READ_QUEUES = "read_queues"
    SEE_STATUS_PAGE = "see_status_page"
    READ_METRICS = "read_metrics"
    READ_LOG = "read_log"
    CHECK_LOG = "check_log"


_OVERSEERS = {Role.COORDINATOR: Relation.REGION, Role.NATIONAL: Relation.ALL}

POLICY: dict[Action, dict[Role, Relation]] = {
    Action.SUBMIT_REFERRAL: {Role.ORIGINATOR: Relation.OWN},
    Action.READ_REFERRAL: {Role.ORIGINATOR: Relation.OWN, **_OVERSEERS},
    Action.READ_RESPONSES: {Role.ORIGINATOR: Relation.OWN, **_OVERSEERS},
    Action.CANCEL_REFERRAL: {Role.ORIGINATOR: Relation.OWN},
    Action.READ_INBOX: {Role.AGENCY: Relation.ADDRESSED},
    Action.ANSWER: {Role.AGENCY: Relation.ADDRESSED},
    Action.SEND_MESSAGE: {Role.ORIGINATOR: Relation.OWN},
    Action.COORDINATE: _OVERSEERS,
    Action.READ_QUEUES: _OVERSEERS,
    Action.SEE_STATUS_PAGE: _OVERSEERS,
    Action.READ_LOG: {Role.AUDITOR: Relation.ALL},
    Action.CHECK_LOG: {Role.AUDITOR: Relation.ALL, Role.ADMINISTRATOR: Relation.ALL},
    Action.READ_METRICS: {Role.ADMINISTRATOR: Relation.ALL, Role.NATIONAL: Relation.ALL},
}


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
