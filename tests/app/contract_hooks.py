"""What schemathesis does beside its own: it asks from many addresses, and looks at why a sound request was refused."""

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


# Rules that no JSON Schema of ours says: codes that must exist, times in the future, positions that are ours, states,
# rules between fields, what a key stands for already. By the kind of refusal, or by what it says of the value at fault.
_KINDS = frozenset(
    "already-answered bad-batch bad-cursor batch-columns birth-date-in-future claim-stale handling-conditions-required "
    "idempotency-key-reused "
    "no-identifying-detail no-longer-open not-acceptable token-refused unknown-addressee".split()
)
_RULES = re.compile(
    "must not be blank|needs a|a person has|only a person|a hit needs|declined needs|only declined|more_information|"
    "handling code|is in the future|is before 1850|Name another body|Give the code of a party|Give a role|Give actions|"
    "Give networks|Give a time in the future|at most|Name a|is before 2000|A number has more than|"
    "This value is not acceptable|The first month comes after|At most 60 months|"
    "the last day is before"
)


@schemathesis.check
def refuses_only_what_the_document_cannot_say(ctx: Any, response: Any, case: Any) -> None:
    """A request in the form of the document is refused for a rule beyond that form, and for nothing else."""
    sound = case.meta is not None and case.meta.generation.mode.is_positive
    if not sound or response.status_code not in (400, 406, 410, 422):
        return
    document = response.json()
    slug = document["type"].removeprefix("/problems/")
    if slug in _KINDS:
        return
    told = [fault["detail"] for fault in document.get("errors", [document])]
    assert all(_RULES.match(detail) for detail in told), told
