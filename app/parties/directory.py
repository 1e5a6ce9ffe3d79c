"""Reading the parties from the database."""

from typing import Any

from sqlalchemy import select

from app.db import Connection
from app.parties.codes import Channel, PartyKind
from app.parties.models import Party
from app.parties.own_policy import OwnPolicy, decided
from app.parties.policy import Policy
from app.parties.records import Directory, PartyRecord, UnknownParty
from app.parties.snapshot import Snapshot

__all__ = ["Directory", "DirectoryCache", "PartyRecord", "UnknownParty", "load"]


async def load(connection: Connection) -> Directory:
    """Every party as it is now, with what it has decided of its own policy.

    A party that a later release leaves out stays: referrals still name it.
    """
    own = await decided(connection)
    rows = await connection.execute(
        select(
            Party.code,
            Party.name,
            Party.kind,
            Party.region,
            Party.nation,
            Party.territory,
            Party.channel,
            Party.policy,
            Party.bears_on,
            Party.can_refer,
        )
    )
    return Directory(
        PartyRecord(
            code=row.code,
            name=row.name,
            kind=PartyKind(row.kind),
            region=row.region,
            nation=row.nation,
            territory=frozenset(row.territory),
            channel=Channel(row.channel),
            policy=_policy(row.policy, own.get(row.code)),
            bears_on=row.bears_on,
            can_refer=row.can_refer,
        )
        for row in rows
    )


def _policy(document: Any, own: OwnPolicy | None) -> Policy:
    policy = Policy.model_validate(document)
    return policy if own is None else own.over(policy)


class DirectoryCache(Snapshot[Directory]):
    """The directory of this process, at most `seconds` old."""

    def __init__(self, seconds: float = 5.0) -> None:
        super().__init__(load, seconds)
