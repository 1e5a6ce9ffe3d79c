"""The matrix as reference data: `matrix.toml` validated, loaded into the database, and read back."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from sqlalchemy import insert, select

from app.db import Connection
from app.parties.codes import GATEWAYS, CrimeType, LegalBasis, PartyKind
from app.parties.models import Party
from app.parties.release import ReferenceDataError, ReferenceFile, explain, read_release, take_release
from app.parties.snapshot import Snapshot
from app.routing.matrix import ANY, NAMED, Gateway, Matrix, Rule
from app.routing.models import RoutingGateway, RoutingRelease, RoutingRule

__all__ = ["MatrixCache", "MatrixFile", "ReferenceDataError", "load", "load_matrix", "seed"]

FILE = Path(__file__).with_name("matrix.toml")

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


def _is_gateway(basis: LegalBasis) -> LegalBasis:
    if basis not in GATEWAYS:
        raise ValueError(f"{basis} is no gateway")
    return basis


class RuleEntry(BaseModel):
    """One rule as the file gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crime_type: CrimeType
    agency: str
    reason: str = Field(min_length=1)


class GatewayEntry(BaseModel):
    """One gateway as the file gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sender: str
    recipient: str
    legal_basis: Annotated[LegalBasis, AfterValidator(_is_gateway)]


class MatrixFile(ReferenceFile):
    """One release of the matrix; the file's head says what each part means."""

    named_only: frozenset[str] = frozenset()
    gateways: tuple[GatewayEntry, ...] = ()
    rules: dict[Slug, RuleEntry]

    @model_validator(mode="after")
    def _rules_are_plain(self) -> Self:
        """No rule takes the name kept for named addressees, and none leads to an agency that is only named."""
        if NAMED in self.rules:
            raise ValueError(f"a rule cannot be called {NAMED!r}")
        if both := sorted(self.named_only & {rule.agency for rule in self.rules.values()}):
            raise ValueError(f"named only, yet a rule leads to: {', '.join(both)}")
        return self

    def parties(self) -> set[str]:
        """Every party code that the file mentions."""
        ends = {end for gateway in self.gateways for end in (gateway.sender, gateway.recipient)}
        return {rule.agency for rule in self.rules.values()} | self.named_only | (ends - set(PartyKind) - {ANY})

    def matrix(self) -> Matrix:
        """The release as the decision takes it, without a database."""
        return Matrix(
            release=self.version,
            rules=tuple(
                Rule(name, entry.crime_type, entry.agency, entry.reason) for name, entry in sorted(self.rules.items())
            ),
            gateways=tuple(Gateway(entry.sender, entry.recipient, entry.legal_basis) for entry in self.gateways),
        )


def parse(document: dict[str, Any]) -> MatrixFile:
    """A document as a matrix. Raises `ReferenceDataError`, one line, naming what is wrong."""
    try:
        return MatrixFile.model_validate(document)
    except ValidationError as error:
        raise explain(FILE.name, error) from None


def load() -> MatrixFile:
    """The matrix of this program. Raises `ReferenceDataError`."""
    return parse(read_release(FILE))


async def seed(connection: Connection, file: MatrixFile | None = None) -> None:
    """Load the matrix (this program's, where `file` is left out) if it is newer than the one loaded; else do nothing.

    The parties must be loaded before it. Rules of older releases stay. Raises `ReferenceDataError` where the version
    that is loaded had another content, or where the matrix names a party that is not loaded.
    """
    file = file or load()
    if not await take_release(connection, RoutingRelease, FILE.name, file):
        return
    if unknown := sorted(file.parties() - set(await connection.scalars(select(Party.code)))):
        raise ReferenceDataError(f"{FILE.name} names parties that are not loaded: {', '.join(unknown)}")
    matrix = file.matrix()
    await connection.execute(
        insert(RoutingRule),
        [
            {
                "release": matrix.release,
                "rule": rule.rule,
                "crime_type": rule.crime_type,
                "agency": rule.agency,
                "reason": rule.reason,
            }
            for rule in matrix.rules
        ],
    )
    await connection.execute(
        insert(RoutingGateway),
        [
            {
                "release": matrix.release,
                "position": position,
                "sender": gateway.sender,
                "recipient": gateway.recipient,
                "legal_basis": gateway.legal_basis,
            }
            for position, gateway in enumerate(matrix.gateways, start=1)
        ],
    )


async def load_matrix(connection: Connection) -> Matrix:
    """The newest release. Raises `ReferenceDataError` where none is loaded."""
    release = await connection.scalar(select(RoutingRelease.version).order_by(RoutingRelease.version.desc()).limit(1))
    if release is None:
        raise ReferenceDataError("No routing matrix is loaded: run `gain migrate`.")
    rules = await connection.execute(
        select(RoutingRule.rule, RoutingRule.crime_type, RoutingRule.agency, RoutingRule.reason).where(
            RoutingRule.release == release
        )
    )
    gateways = await connection.execute(
        select(RoutingGateway.sender, RoutingGateway.recipient, RoutingGateway.legal_basis)
        .where(RoutingGateway.release == release)
        .order_by(RoutingGateway.position)
    )
    return Matrix(
        release=release,
        # Sorted here, not by the database: its collation must not decide which rule comes first.
        rules=tuple(sorted((Rule(*row) for row in rules), key=lambda rule: rule.rule)),
        gateways=tuple(Gateway(*row) for row in gateways),
    )


class MatrixCache(Snapshot[Matrix]):
    """The newest matrix in this process, at most `seconds` old."""

    def __init__(self, seconds: float = 5.0) -> None:
        super().__init__(load_matrix, seconds)
