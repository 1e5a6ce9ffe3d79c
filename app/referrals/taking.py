"""Taking at once: a worker whose adapters have room leases dispatches as it makes them, within one transaction.

Such a dispatch is written once where it would be written, and entered in every index, twice. It is fenced as any other:
the first attempt, under a lease on the database's clock. Nobody is overtaken: an agency that has any due is left out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.db import Connection
from app.referrals import lifecycle
from app.referrals.lifecycle import HandOver

Seen = Mapping[UUID, Mapping[str, Any]]
"""What agencies may see of referrals, by their ids; one that cannot be opened is not there."""


@dataclass(slots=True)
class Taking:
    """How many a worker takes at most, and of each agency's; in `taken` they are, once that is committed."""

    slots: dict[str, int] = field(default_factory=dict)
    most: int = 0
    taken: list[HandOver] = field(default_factory=list)

    async def look(self, connection: Connection, referral_ids: Collection[UUID]) -> Seen:
        """Open the referrals whose dispatches may be taken."""
        if not referral_ids or self.most <= 0 or not any(self.slots.values()):
            return {}
        return await lifecycle.seen_by_agencies(connection, referral_ids)

    def takes(self, agency: str) -> bool:
        """Whether a dispatch to this agency is taken, which fills one of its slots."""
        free = self.slots.get(agency, 0)
        if free <= 0 or self.most <= 0:
            return False
        self.slots[agency] = free - 1
        self.most -= 1
        return True
