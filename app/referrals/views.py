"""What a party sees of a referral: the originator all it submitted, an agency all but who else was asked."""

from typing import Any
from uuid import UUID

import orjson

_NOT_FOR_AGENCIES = ("addressees", "client_reference")


def document(content: bytes) -> dict[str, Any]:
    """A document, opened, as it was sent."""
    loaded: dict[str, Any] = orjson.loads(content)
    return loaded


def for_agency(referral_id: UUID, originator: str, content: bytes) -> dict[str, Any]:
    """The referral as an addressee may see it: never the other addressees or the originator's own reference.

    `content` is opened.
    """
    seen = document(content)
    for name in _NOT_FOR_AGENCIES:
        seen.pop(name, None)
    return {"id": str(referral_id), "originator": originator, **seen}
