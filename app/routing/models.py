"""The tables of the routing matrix: every rule of every release, so that a dispatch's rule can always be looked up."""

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.parties.models import Release


class RoutingRelease(Release, Base):
    """One loaded version of the matrix."""

    __tablename__ = "routing_release"


class RoutingRule(Base):
    """A crime type leads to an agency; `rule` is a slug such as `waste-crime-wales`, `reason` a readable sentence."""

    __tablename__ = "routing_rule"

    release: Mapped[int] = mapped_column(ForeignKey("routing_release.version"), primary_key=True)
    rule: Mapped[str] = mapped_column(Text, primary_key=True)
    crime_type: Mapped[str] = mapped_column(Text)
    agency: Mapped[str] = mapped_column(ForeignKey("party.code"))
    reason: Mapped[str] = mapped_column(Text)


class RoutingGateway(Base):
    """The legal gateway proposed from a sender to a recipient; the lowest `position` that fits is proposed.

    `sender` and `recipient` are a party's code, a party kind, or `*` for any.
    """

    __tablename__ = "routing_gateway"

    release: Mapped[int] = mapped_column(ForeignKey("routing_release.version"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sender: Mapped[str] = mapped_column(Text)
    recipient: Mapped[str] = mapped_column(Text)
    legal_basis: Mapped[str] = mapped_column(Text)
