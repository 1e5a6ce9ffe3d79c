"""The exchange on an item: what its agency asked, what the originator answered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.crypto.vault import Opener
from app.db import Connection, Numbered
from app.referrals.views import document


class _Said(NamedTuple):
    table: str
    id: UUID
    dispatch_id: UUID
    referral_id: UUID
    content: bytes
    sealed: bool
    sender: str
    at: datetime
    ring_key: str | None
    wrapped: bytes | None


_EXCHANGE = Numbered.of("""
    SELECT said.*, ring_key, wrapped
      FROM (SELECT 'response', id, dispatch_id, referral_id, content, sealed, agency, recorded_at AS at
              FROM response
             WHERE dispatch_id = ANY(CAST(:ids AS uuid[])) AND outcome = 'more_information' AND flag IS NULL
             UNION ALL
            SELECT 'message', id, dispatch_id, referral_id, content, sealed, sender, sent_at
              FROM message WHERE dispatch_id = ANY(CAST(:ids AS uuid[]))) AS said
      LEFT JOIN data_key ON data_key.referral_id = said.referral_id
     ORDER BY at
""")


async def messages(connection: Connection, dispatch_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """The messages of each of these dispatches, oldest first; one without any is left out."""
    found: dict[UUID, list[dict[str, Any]]] = {}
    opener = Opener(connection)
    for row in await _EXCHANGE.within(connection, {"ids": dispatch_ids}):
        said = _Said(*row)
        if said.sealed and not said.content:  # emptied by disposal: what is sealed is never empty
            continue
        words = document(opener.content(said.table, said.id, said.referral_id, said))
        message = {"from": said.sender, "at": said.at, "text": words.get("text") or words["summary"]}
        found.setdefault(said.dispatch_id, []).append(message)
    return found
