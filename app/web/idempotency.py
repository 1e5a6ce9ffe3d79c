"""The `Idempotency-Key` header, which all POSTs by originators and co-ordinators take."""

import re
from typing import Annotated

from fastapi import Header

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key with the same meaning of the body does the same thing once.",
    ),
]

PLAUSIBLE_KEY = re.compile(r"[\x21-\x7e]{1,255}")
"""What the header may be, for whoever reads it without FastAPI."""

REPLAYED = {"Idempotent-Replayed": "true"}
"""The header of an answer to a repetition."""
