"""The parties' reference data: `parties.toml` validated, and loaded into the database."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from sqlalchemy import ColumnElement, case
from sqlalchemy.dialects.postgresql import insert

from app.db import Connection
from app.parties.codes import RECEIVING_KINDS, REFERRING_KINDS, Channel, PartyKind
from app.parties.models import Party, PartyRevision, ReferenceRelease
from app.parties.policy import Policy
from app.parties.records import GREAT_BRITAIN, NATIONS, Directory, PartyRecord
from app.parties.release import ReferenceDataError, ReferenceFile, explain, read_release, take_release

__all__ = ["ReferenceData", "ReferenceDataError", "load", "seed"]

FILE = Path(__file__).with_name("parties.toml")

Code = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{0,11}(-[A-Z0-9]{1,12})?$")]


class PartyEntry(BaseModel):
    """One party as the file gives it; the file's head says what each field means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    region: Code | None = None
    nation: str | None = None
    territory: frozenset[str] = frozenset()
    channel: Channel = Channel.INBOX
    bears_on: str | None = None
    policy: Policy = Policy()
    can_refer: bool | None = None


class ReferenceData(ReferenceFile):
    """Every party of one release, by kind and code."""

    parties: dict[PartyKind, dict[Code, PartyEntry]]

    @model_validator(mode="after")
    def _codes_are_known(self) -> Self:
        """Each code stands once, and every region, nation and territory named exists."""
        codes = [code for entries in self.parties.values() for code in entries]
        if twice := sorted({code for code in codes if codes.count(code) > 1}):
            raise ValueError(f"listed under two kinds: {', '.join(twice)}")
        regions = self.parties.get(PartyKind.REGION, {}).keys()
        places = {GREAT_BRITAIN, *NATIONS, *regions, *self.parties.get(PartyKind.FORCE, {})}
        for kind, entries in self.parties.items():
            for code, entry in entries.items():
                _check(kind, code, entry, regions, places)
        return self

    def records(self) -> list[PartyRecord]:
        """Every party of the release."""
        return [_record(kind, code, entry) for kind, entries in self.parties.items() for code, entry in entries.items()]

    def directory(self) -> Directory:
        """The release as a directory, without a database."""
        return Directory(self.records())


def _check(kind: PartyKind, code: str, entry: PartyEntry, regions: Any, places: set[str]) -> None:
    if kind is PartyKind.FORCE and entry.region is None:
        raise ValueError(f"{code}: a force needs a region")
    if entry.region is not None and entry.region not in regions:
        raise ValueError(f"{code}: unknown region {entry.region}")
    if entry.nation is not None and entry.nation not in NATIONS:
        raise ValueError(f"{code}: unknown nation {entry.nation}")
    if unknown := sorted(entry.territory - places):
        raise ValueError(f"{code}: unknown territory {', '.join(unknown)}")
    if kind in RECEIVING_KINDS and not entry.territory:
        raise ValueError(f"{code}: an addressee needs a territory")


def _record(kind: PartyKind, code: str, entry: PartyEntry) -> PartyRecord:
    return PartyRecord(
        code=code,
        name=entry.name,
        kind=kind,
        region=code if kind is PartyKind.REGION else entry.region,
        nation=entry.nation,
        territory=entry.territory,
        channel=entry.channel,
        policy=entry.policy,
        bears_on=entry.bears_on,
        can_refer=kind in REFERRING_KINDS if entry.can_refer is None else entry.can_refer,
    )


def parse(document: dict[str, Any]) -> ReferenceData:
    """A document as reference data. Raises `ReferenceDataError`, one line, naming what is wrong."""
    try:
        return ReferenceData.model_validate(document)
    except ValidationError as error:
        raise explain(FILE.name, error) from None


def load() -> ReferenceData:
    """The reference data of this program. Raises `ReferenceDataError`."""
    return parse(read_release(FILE))


async def seed(connection: Connection, data: ReferenceData | None = None) -> None:
    """Load the parties (this program's, where `data` is left out) if they are newer than those loaded; else do nothing.

    A party that the new release leaves out stays as it is, and so does a channel that an operator has set. Raises
    `ReferenceDataError` where the version that is loaded had another content.
    """
    data = data or load()
    if not await take_release(connection, ReferenceRelease, FILE.name, data):
        return
    documents = [_document(record) for record in data.records()]
    statement = insert(Party).values([{**document, "release": data.version} for document in documents])
    given = statement.excluded
    changes: dict[str, ColumnElement[Any]] = {column.name: column for column in given}
    del changes["code"], changes["channel_set_at"], changes["channel_followed_at"]
    changes["channel"] = case((Party.channel_set_at.is_(None), given.channel), else_=Party.channel)
    await connection.execute(statement.on_conflict_do_update(index_elements=[Party.code], set_=changes))
    await connection.execute(
        insert(PartyRevision).values(
            [{"code": document["code"], "release": data.version, "document": document} for document in documents]
        )
    )


def _document(record: PartyRecord) -> dict[str, Any]:
    return {
        "code": record.code,
        "name": record.name,
        "kind": record.kind.value,
        "region": record.region,
        "nation": record.nation,
        "territory": sorted(record.territory),
        "channel": record.channel.value,
        "bears_on": record.bears_on,
        "policy": record.policy.model_dump(mode="json"),
        "can_refer": record.can_refer,
    }
