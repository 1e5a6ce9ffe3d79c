"""The tables of the parties: the reference releases loaded, the parties as they are now, and what they were."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from sqlalchemy import ARRAY, CheckConstraint, Date, DateTime, ForeignKey, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.parties.codes import Channel, PartyKind


def _one_of(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class Release:
    """One loaded version of a reference file; `digest` (SHA-256, hex) tells a changed file that kept its version."""

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    valid_from: Mapped[date] = mapped_column(Date)
    digest: Mapped[str] = mapped_column(Text)
    loaded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ReferenceRelease(Release, Base):
    """One loaded version of the parties."""

    __tablename__ = "reference_release"


class Party(Base):
    """A region, force, agency or other body as it is now.

    `region` is the region's code (a region's own for itself); `territory` holds the codes an addressee covers
    (GB, a nation, a region or a force), empty for parties that cover none; `policy` is `app.parties.policy.Policy`.
    A `channel` that an operator has set (`channel_set_at`) outlives new reference data. What had been put off for
    the agency is brought forward once for each setting: `channel_followed_at` is the latest for which it has been.
    """

    __tablename__ = "party"
    __table_args__ = (
        CheckConstraint(_one_of("kind", PartyKind), name="kind"),
        CheckConstraint(_one_of("channel", Channel), name="channel"),
    )

    code: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    region: Mapped[str | None] = mapped_column(Text)
    nation: Mapped[str | None] = mapped_column(Text)
    territory: Mapped[list[str]] = mapped_column(ARRAY(Text))
    channel: Mapped[str] = mapped_column(Text, server_default=Channel.INBOX.value)
    channel_set_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    channel_followed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    bears_on: Mapped[str | None] = mapped_column(Text)
    policy: Mapped[dict[str, Any]] = mapped_column(JSONB)
    release: Mapped[int] = mapped_column(ForeignKey("reference_release.version"))
    can_refer: Mapped[bool]


class PartyRevision(Base):
    """What a party was in each release; rows are only ever added."""

    __tablename__ = "party_revision"

    code: Mapped[str] = mapped_column(Text, primary_key=True)
    release: Mapped[int] = mapped_column(ForeignKey("reference_release.version"), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
