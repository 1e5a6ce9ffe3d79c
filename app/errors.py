"""Problems: every refusal the broker gives, by name (RFC 9457)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of refusal: its page under /problems/, its status and what a client should do about it."""

    slug: str
    status: int
    title: str
    advice: str


class Problem(Exception):
    """A refusal with a status; the web layer turns it into `application/problem+json`.

    `detail` never carries the offending value: it may be personal data.
    `errors` is a list of `{"pointer": RFC 6901, "detail": text}` for a bad body. `members` are what a kind adds to its
    document (RFC 9457 section 3.2), `headers` what it adds to the answer's.
    """

    def __init__(
        self,
        kind: ProblemType,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, str]] = (),
        retry_after: int | None = None,
        members: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind.slug)
        self.kind = kind
        self.detail = detail or kind.advice
        self.errors = list(errors)
        self.retry_after = retry_after
        self.members = dict(members or {})
        self.headers = dict(headers or {})


def _kinds(*kinds: ProblemType) -> dict[str, ProblemType]:
    return {kind.slug: kind for kind in kinds}


NOT_FOUND = ProblemType(
    "not-found", 404, "Not found", "There is nothing here, or it is not yours to see. Check the address."
)
CREDENTIAL_REQUIRED = ProblemType(
    "credential-required",
    401,
    "A credential is required",
    "Send `Authorization: Bearer <key>` with a key that is in force.",
)
ROLE_NOT_ALLOWED = ProblemType(
    "role-not-allowed", 403, "This role may not do that", "Use a key of the role that this route is for."
)
CROSS_SITE = ProblemType(
    "cross-site", 403, "This did not come from one of our pages", "Open the page again and use the form on it."
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed", 405, "Method not allowed", "See /docs for what this address takes."
)
OUTSIDE_SCOPE = ProblemType(
    "outside-scope", 403, "This scope leaves that out", "Use a key, or a token, whose scope holds this action."
)
TOKEN_REFUSED = ProblemType(
    "token-refused",
    400,
    "The token request cannot be granted",
    "Send a form with `grant_type=client_credentials`, and the key as client secret (RFC 6749 section 4.4).",
)
NOT_ACCEPTABLE = ProblemType("not-acceptable", 406, "No such form", "Ask for a media type this address can give.")
BODY_TOO_LARGE = ProblemType(
    "body-too-large", 413, "The body is too large", "Send at most 256 KiB; many rows go to /v1/referral-batches."
)
MEDIA_TYPE = ProblemType(
    "unsupported-media-type", 415, "Unsupported media type", "Send JSON with `Content-Type: application/json`."
)
BODY_TIMEOUT = ProblemType(
    "body-timeout", 408, "The body did not arrive in time", "Send the whole body without a pause."
)
NOT_JSON = ProblemType(
    "not-json",
    400,
    "The body is not acceptable JSON",
    "Send one JSON document in UTF-8 (RFC 8259), each key once, no NaN, NUL or lone surrogate, not too deep.",
)
BAD_REQUEST = ProblemType(
    "bad-request", 400, "The request cannot be read", "Check its headers and its form against /docs."
)
PURPOSE_REQUIRED = ProblemType(
    "purpose-required",
    400,
    "State why you read this",
    "Send `GAIN-Purpose` with one of its codes (see /docs): the operator has reading logged with its purpose.",
)
BAD_CURSOR = ProblemType(
    "bad-cursor", 400, "The cursor is not one of ours", "Take `next` from the page before, with the same filters."
)
INVALID_BODY = ProblemType(
    "invalid-body", 422, "The body is not acceptable", "`errors` names each field and what it takes."
)
INVALID_PARAMETER = ProblemType(
    "invalid-parameter", 422, "A parameter is not acceptable", "`errors` names each parameter and what it takes."
)
MARKING_NOT_ACCEPTED = ProblemType(
    "marking-not-accepted",
    422,
    "This marking is not accepted",
    "This system takes OFFICIAL and OFFICIAL-SENSITIVE. Nothing of what was sent is kept; the refusal is recorded.",
)
HANDLING_CONDITIONS_REQUIRED = ProblemType(
    "handling-conditions-required",
    422,
    "Handling code C needs a condition",
    "Give at least one of A1, A2, A3, S1, S2 in `conditions`, or use handling code P (3x5x2).",
)
UNKNOWN_ADDRESSEE = ProblemType(
    "unknown-addressee",
    422,
    "An addressee is unknown",
    "Name agencies by their codes; an originator cannot name itself.",
)
BIRTH_DATE_IN_FUTURE = ProblemType(
    "birth-date-in-future", 422, "The date of birth is in the future", "Give the date as YYYY-MM-DD."
)
NO_IDENTIFYING_DETAIL = ProblemType(
    "no-identifying-detail",
    422,
    "Nothing identifies the subject",
    "Give at least one detail by which a body can find the subject: a name, an identifier or an address.",
)
IDEMPOTENCY_KEY_REUSED = ProblemType(
    "idempotency-key-reused", 422, "This Idempotency-Key stands for another body", "Use a new key for a new request."
)
IDEMPOTENCY_IN_FLIGHT = ProblemType(
    "idempotency-in-flight", 409, "The first request with this key is still being handled", "Try again in a second."
)
STATE_CONFLICT = ProblemType("state-conflict", 409, "Its state does not allow that", "Read it again and decide anew.")
ALREADY_ANSWERED = ProblemType(
    "already-answered",
    409,
    "A different answer is already recorded",
    "The first accepted answer stands; this one is kept as evidence. Ask the co-ordinator to redeliver.",
)
TOO_MANY_QUESTIONS = ProblemType(
    "too-many-questions",
    409,
    "As many questions as are taken were asked about this item",
    "Answer it, or speak to the originator.",
)
CLAIM_STALE = ProblemType("claim-stale", 409, "The claim is not in force", "Claim the item again.")
NO_LONGER_OPEN = ProblemType(
    "no-longer-open",
    410,
    "It is no longer open",
    "It was cancelled or has expired; an answer is kept as late evidence.",
)
DISPOSED = ProblemType(
    "disposed",
    410,
    "It was disposed of",
    "Its retention has ended: what it said is gone for good. `GET /v1/referrals/{id}` tells what is left of it.",
)
TOO_MANY_REQUESTS = ProblemType("too-many-requests", 429, "Too many requests", "Wait as `Retry-After` says.")
UNAVAILABLE = ProblemType(
    "unavailable", 503, "The broker cannot do that just now", "Nothing was changed. Try again as `Retry-After` says."
)
BATCH_COLUMNS = ProblemType(
    "batch-columns",
    422,
    "The columns are not acceptable",
    "`errors` names each. Take those of `GET /v1/referral-batches/template.csv`. Nothing of the file was taken.",
)
BAD_BATCH = ProblemType(
    "bad-batch",
    400,
    "The file cannot be read",
    "Send CSV (RFC 4180) with headings, or NDJSON, in UTF-8. Nothing of the file was taken.",
)
BATCH_TOO_LARGE = ProblemType(
    "batch-too-large",
    413,
    "The batch is too large",
    "Send at most 100,000 rows and 256 MiB at once. Nothing of the file was taken.",
)
CLIENT_REFERENCE_REUSED = ProblemType(
    "client-reference-reused",
    422,
    "This client_reference stands for another referral",
    "A row with it was sent before and said something else. Give what is new a reference of its own.",
)
BACKLOG = ProblemType(
    "backlog",
    503,
    "Too many referrals wait to be passed on",
    "Nothing was stored. Send the same request again after `Retry-After`, with the same `Idempotency-Key`. What was "
    "accepted before is safe. Urgent referrals are refused last.",
)
ROW_GIVEN_UP = ProblemType(
    "row-given-up",
    422,
    "The broker could not take this row",
    "Nothing is wrong with it that can be told. Submit it by itself, and tell the operator if that fails too.",
)
INTERNAL = ProblemType("internal", 500, "The broker failed", "Nothing was changed. Tell the operator the request id.")

PROBLEM_TYPES: dict[str, ProblemType] = _kinds(
    *(value for value in list(globals().values()) if isinstance(value, ProblemType))
)
