"""What schemathesis does beside its own: why a request in the form of the document was refused, and where from it came."""

import json
import os
import random
import re
from typing import Any

import schemathesis

_OWN = frozenset(json.loads(os.environ["GAIN_TEST_OWN_KEYS"]))
_SPARE: list[str] = json.loads(os.environ["GAIN_TEST_SPARE_KEYS"])
_random = random.Random(1)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Before a request is sent. Failed attempts to get a token are counted by address: one would soon get 429 only."""
    address = ".".join(str(_random.randrange(1, 255)) for _ in range(4))
    case.headers = {**(case.headers or {}), "X-Forwarded-For": address}
    if case.path.startswith("/v1/keys/{id}") and (case.path_parameters or {}).get("id") in _OWN:
        case.path_parameters["id"] = _random.choice(_SPARE)


# Rules that no JSON Schema of ours says: codes that must exist, times in the future, positions that are ours, states, rules
# between fields, what a key stands for already.
_BEYOND = {
    "already-answered",
    "bad-cursor",
    "birth-date-in-future",
    "claim-stale",
    "handling-conditions-required",
    "idempotency-key-reused",
    "no-identifying-detail",
    "no-longer-open",
    "not-acceptable",
    "token-refused",
    "unknown-addressee",
}
_POINTERS = re.compile(r"NONE")


@schemathesis.check
def refuses_only_what_the_document_cannot_say(ctx: Any, response: Any, case: Any) -> None:
    """A request in the form of the document is refused for a rule beyond that form, and for nothing else."""
    if (
        case.meta is None
        or not case.meta.generation.mode.is_positive
        or response.status_code not in (400, 406, 410, 422)
    ):
        return
    document = response.json()
    slug = document["type"].removeprefix("/problems/")
    if slug in _BEYOND:
        return
    for fault in document.get("errors", [{"pointer": slug}]):
        assert _POINTERS.fullmatch(fault["pointer"]), f"{slug}: {fault}"
