"""`gain retention …`: what is due, reviews, legal holds, disposal; whether or not the data directory's system runs."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import orjson

from app import clock
from app.crypto.refusal import Unopenable
from app.crypto.vault import check
from app.db import AS_OWNER, Connection, Database
from app.errors import Problem
from app.retention import disposal, hold, review
from app.retention.reference import rules
from app.retention.review import Decision, Refused
from app.retention.schedule import date_all
from app.runtime.auditing import operator
from app.runtime.moment import database_of
from app.runtime.reach import needing_database
from app.runtime.refusal import StartRefused

T = TypeVar("T")
Say = Callable[[str], None]

COLUMNS = ("reference", "originator", "state", "mopi_group", "closed_at", "review_on", "reviewed_at", "on_legal_hold")
"""What `print_due` tells of a referral."""

_TELL_SECONDS = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def print_due(data_dir: Path, until: date | None, show: Say, say: Say, *, as_json: bool) -> None:
    """Date what has no review date yet, then show what is due by a day (UTC; today). Raises `StartRefused`."""
    last = until or clock.now().date()

    async def work(database: Database) -> None:
        dated = await date_all(database, rules())
        if dated.dated:
            say(f"{dated.dated:,} referrals have a review date now")
        if dated.unopenable:
            say(f"{dated.unopenable:,} referrals cannot be opened, and have no review date")
        if not as_json:
            show("\t".join(COLUMNS))
        number = 0
        async for row in review.due(database, operator(), last):
            number += 1
            show(orjson.dumps(row).decode() if as_json else "\t".join(_text(row[name]) for name in COLUMNS))
        say(f"{number:,} referrals are due for a review by {last}")

    _with_database(data_dir, work)


def write_review(data_dir: Path, references: Sequence[str], decision: Decision, say: Say) -> None:
    """Write down what was decided on these referrals, in one transaction. Raises `StartRefused`."""

    async def work(database: Database) -> None:
        async with database.transaction(AS_OWNER) as connection:
            found = {reference: await _find(connection, reference) for reference in references}
            for reference, referral_id in sorted(found.items(), key=lambda item: item[1]):
                try:
                    await review.decide(connection, operator(), rules(), referral_id, decision)
                except Refused as refusal:
                    raise StartRefused(f"{reference}: {refusal}; nothing was written down") from None
        what = f"kept until {decision.keep_until}" if decision.keep_until else "to be disposed of"
        say(f"{len(found):,} referrals are {what}")

    _with_database(data_dir, work)


def dispose(data_dir: Path, before: date | None, say: Say, *, dry_run: bool) -> int:
    """Dispose of what reviews have decided, or (`dry_run`) only say how many. Raises `StartRefused`.

    Ctrl-C or SIGTERM ends it after the batch under way, a second one at once. Returns the signal's number, 0 without.
    """
    ended: list[int] = []

    async def work(database: Database) -> None:
        async with database.transaction(AS_OWNER) as connection:
            waiting = await disposal.disposable(connection, before)
        if dry_run:
            say(f"{waiting:,} referrals would be disposed of")
            return
        _end_after_a_batch(ended)
        tell = _progress(waiting, say)

        def go_on(number: int) -> bool:
            tell(number)
            return not ended

        number = await disposal.dispose_all(database, operator(), before, go_on)
        say(f"{number:,} referrals disposed of; complete once every backup that holds their keys has expired")
        if ended:
            say("ended before all were: start it again to go on")

    _with_database(data_dir, work)
    return ended[0] if ended else 0


def set_hold(data_dir: Path, reference: str, reason: str, say: Say) -> None:
    """Put a referral on legal hold. Raises `StartRefused`."""
    _on(data_dir, reference, lambda connection, id: hold.hold(connection, operator(), id, reason))
    say(f"{reference} is on legal hold")


def lift_hold(data_dir: Path, reference: str, reason: str, say: Say) -> None:
    """Lift a referral's legal hold. Raises `StartRefused`."""
    _on(data_dir, reference, lambda connection, id: hold.lift(connection, operator(), id, reason))
    say(f"{reference} is on legal hold no more")


def _on(data_dir: Path, reference: str, deed: Callable[[Connection, UUID], Awaitable[None]]) -> None:
    async def work(database: Database) -> None:
        async with database.transaction(AS_OWNER) as connection:
            await deed(connection, await _find(connection, reference))

    _with_database(data_dir, work)


async def _find(connection: Connection, reference: str) -> UUID:
    found = await review.find(connection, reference)
    if found is None:
        raise StartRefused(f"there is no referral {reference}")
    return found


def _with_database(data_dir: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    """Raises `StartRefused`, also where the key ring is not the one of this database."""
    with database_of(data_dir) as settings, needing_database():

        async def run() -> T:
            database = Database(settings)
            try:
                async with database.transaction(AS_OWNER) as connection:
                    await check(connection)
                return await work(database)
            except Unopenable as error:
                raise StartRefused(f"{error.why} {error.ring_key}".strip()) from error
            except Problem as problem:
                raise StartRefused(problem.detail) from problem
            finally:
                await database.close()

        return asyncio.run(run())


def _end_after_a_batch(ended: list[int]) -> None:
    """Note a signal in `ended` instead of being ended by it; the next one ends us."""
    loop = asyncio.get_running_loop()

    def note(number: int) -> None:
        ended.append(number)
        for each in _SIGNALS:
            loop.remove_signal_handler(each)

    for number in _SIGNALS:
        loop.add_signal_handler(number, note, number)


def _text(value: object) -> str:
    return "" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _progress(total: int, say: Say) -> Callable[[int], None]:
    told = time.monotonic()

    def tell(number: int) -> None:
        nonlocal told
        if time.monotonic() - told > _TELL_SECONDS:
            told = time.monotonic()
            say(f"{number:,} of {total:,} disposed of")

    return tell
