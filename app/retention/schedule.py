"""Giving closed referrals their group and review date. Batch by batch; whatever ended it, the next goes on."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.crypto.refusal import Unopenable
from app.crypto.vault import Opener
from app.db import AS_WORKER, Connection, Database
from app.parties.codes import CrimeType
from app.referrals.codes import Criterion
from app.referrals.views import document
from app.retention.policy import CLOSED, Rules, group_of, review_on

BATCH = 500

# A referral's last change is its end for as long as it is closed: nothing but reopening changes a closed one.
_UNDATED = text("""
    SELECT referral.id, referral.crime_types, referral.content, referral.sealed, referral.updated_at AS closed_at,
           data_key.ring_key, data_key.wrapped
      FROM referral
      LEFT JOIN retention ON retention.referral_id = referral.id
      LEFT JOIN data_key ON data_key.referral_id = referral.id
     WHERE referral.state = ANY(CAST(:closed AS text[])) AND referral.disposed_at IS NULL
       AND (retention.referral_id IS NULL OR retention.closed_at <> referral.updated_at
            OR (retention.release <> :release AND retention.reviewed_at IS NULL))
       AND referral.id > CAST(:after AS uuid) AND (CAST(:only AS uuid) IS NULL OR referral.id = :only)
     ORDER BY referral.id LIMIT :limit FOR NO KEY UPDATE OF referral
""")

_DATE = text("""
    INSERT INTO retention (referral_id, mopi_group, release, closed_at, review_on)
    SELECT given.id, given.mopi_group, :release, given.closed_at, given.review_on
      FROM unnest(CAST(:ids AS uuid[]), CAST(:groups AS smallint[]), CAST(:ends AS timestamptz[]),
                  CAST(:reviews AS date[])) AS given (id, mopi_group, closed_at, review_on)
     ORDER BY given.id
    ON CONFLICT (referral_id) DO UPDATE
       SET mopi_group = excluded.mopi_group, release = excluded.release, closed_at = excluded.closed_at,
           review_on = excluded.review_on, reviewed_at = NULL, reviewed_by = NULL, dispose = false
     WHERE retention.closed_at <> excluded.closed_at OR retention.reviewed_at IS NULL
""")

_BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Dated:
    """What came of it: how many referrals have a review date now that had none, and how many could not be opened."""

    dated: int = 0
    unopenable: int = 0


async def date_all(database: Database, rules: Rules) -> Dated:
    """Give every closed referral its group and review date, a transaction a batch.

    So are those that were reopened and closed again, and those not yet reviewed whose rules have changed.
    """
    done, after = Dated(), _BEFORE_ALL
    while True:
        async with database.transaction(AS_WORKER) as connection:
            rows = await _undated(connection, rules, after)
            dated = await _date(connection, rules, rows)
        done = Dated(done.dated + dated, done.unopenable + len(rows) - dated)
        if len(rows) < BATCH:
            return done
        after = rows[-1].id


async def date_one(connection: Connection, rules: Rules, referral_id: UUID) -> None:
    """The same for one referral, in the caller's transaction; nothing happens where it is open, or has its date."""
    await _date(connection, rules, await _undated(connection, rules, _BEFORE_ALL, referral_id))


async def _undated(
    connection: Connection, rules: Rules, after: UUID, only: UUID | None = None
) -> Sequence[Row[tuple[Any, ...]]]:
    parameters = {
        "closed": sorted(CLOSED),
        "release": rules.release,
        "after": after,
        "only": only,
        "limit": BATCH,
    }
    return (await connection.execute(_UNDATED, parameters)).all()


async def _date(connection: Connection, rules: Rules, rows: Sequence[Row[tuple[Any, ...]]]) -> int:
    """Date those of these rows that open: of the others the criterion is not known, and no group is guessed."""
    opener = Opener(connection)
    groups = {}
    for row in rows:
        with contextlib.suppress(Unopenable):
            criterion = Criterion(document(opener.referral(row.id, row))["criterion"])
            groups[row.id] = group_of(rules, [CrimeType(code) for code in row.crime_types], criterion)
    dated = [row for row in rows if row.id in groups]
    if not dated:
        return 0
    await connection.execute(
        _DATE,
        {
            "release": rules.release,
            "ids": [row.id for row in dated],
            "groups": [groups[row.id].number for row in dated],
            "ends": [row.closed_at for row in dated],
            "reviews": [review_on(groups[row.id], row.closed_at.astimezone(UTC).date()) for row in dated],
        },
    )
    return len(dated)
