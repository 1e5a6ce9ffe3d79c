"""Lock-out: attempts to sign in are counted in the database, and wait longer and longer.

They are counted by user name and address together, so that a stranger does not keep out whoever signs in from somewhere
else; by address, for who tries many names; and by name alone, with ten times as many free, for who has many addresses.
A /64 of IPv6 is one address.

Every attempt counts as failed from before it is looked at until it has succeeded, so many at once gain nothing. A user
name that nobody has is counted like any other: what is told and when gives no account away. Who is locked out keeps
the sessions that are open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from app.access.networks import counted
from app.crypto.keys import Keys, Purpose
from app.db import Connection

FREE_BY_BOTH, FREE_BY_ADDRESS, FREE_BY_NAME = 5, 20, 50
"""The failure that locks: so many may follow one another."""

_WAITS = (60, 120, 300, 900, 3600)  # seconds; the last one from then on


def waits(free: int) -> list[int]:
    """The seconds to wait after the first failure, the second … where the one numbered `free` is the first to lock."""
    return [0] * (free - 1) + list(_WAITS)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody tries: the user name as it was given, and the address it comes from."""

    username: str
    address: str

    def counted_as(self, keys: Keys) -> Sequence[tuple[bytes, list[int]]]:
        """The keyed hashes that it is counted under, with their waits: by name, by both, by address.

        Those with the name begin with that of the name, so that all of them can be forgotten.
        """
        name = self.name(keys)
        address = keys.digest(Purpose.SIGN_IN, f"address {counted(self.address)}".encode())
        return (
            (name, waits(FREE_BY_NAME)),
            (name + address, waits(FREE_BY_BOTH)),
            (address, waits(FREE_BY_ADDRESS)),
        )

    def name(self, keys: Keys) -> bytes:
        """The keyed hash of the name alone."""
        return keys.digest(Purpose.SIGN_IN, f"name {self.username.strip().lower()[:320]}".encode())


_FORGET = text("DELETE FROM sign_in_failure WHERE last_at < now() - interval '1 day'")

_LEFT = text("""
    SELECT CAST(extract(epoch FROM max(locked_until) - now()) AS double precision) AS left
      FROM sign_in_failure WHERE whose = ANY(CAST(:whose AS bytea[])) AND locked_until > now()
""")

# No wait is null, not now: an attempt that began before and waited for this one would take it for the future.
_COUNT = text("""
    INSERT INTO sign_in_failure AS known (whose, failures, locked_until)
    VALUES (:whose, 1, now() + nullif((CAST(:waits AS integer[]))[1], 0) * interval '1 second')
    ON CONFLICT (whose) DO UPDATE SET
        failures = known.failures + 1, last_at = now(),
        locked_until = now()
            + nullif((CAST(:waits AS integer[]))[least(known.failures + 1, :last)], 0) * interval '1 second'
    RETURNING failures
""")

_CLEAR = text("DELETE FROM sign_in_failure WHERE whose = ANY(CAST(:whose AS bytea[]))")

_CLEAR_NAME = text("DELETE FROM sign_in_failure WHERE substring(whose FOR length(CAST(:name AS bytea))) = :name")

_TAKE_BACK = text("""
    UPDATE sign_in_failure SET failures = greatest(failures - 1, 0), locked_until = NULL WHERE whose = :whose
""")


async def begin(connection: Connection, keys: Keys, attempt: Attempt) -> tuple[float, bool]:
    """Count an attempt. Returns the seconds to wait (0: it may be made), and whether a failure now locks the name.

    That is for everybody, or for this address alone.
    """
    counted = attempt.counted_as(keys)
    await connection.execute(_FORGET)
    # One attempt after another for a name, and for an address: what is looked at next is what the last one left.
    for whose, _ in sorted(counted):
        await connection.execute(_LOCK, {"whose": int.from_bytes(whose[:8], signed=True)})
    left = await connection.scalar(_LEFT, {"whose": [whose for whose, _ in counted]})
    if left is not None:
        return float(left), False
    failures = [
        await connection.scalar(_COUNT, {"whose": whose, "waits": steps, "last": len(steps)})
        for whose, steps in counted
    ]
    return 0.0, bool(failures[0] >= FREE_BY_NAME or failures[1] >= FREE_BY_BOTH)


_LOCK = text("SELECT pg_advisory_xact_lock(:whose)")


async def succeed(connection: Connection, keys: Keys, attempt: Attempt) -> None:
    """Forget the failures of this name from here; of those of its address only this attempt, which was none.

    So are those of the name from everywhere, but what keeps other addresses out of it stays.
    """
    (name, _), (both, _), (address, _) = attempt.counted_as(keys)
    await connection.execute(_CLEAR, {"whose": [name, both]})
    await connection.execute(_TAKE_BACK, {"whose": address})


async def passed(connection: Connection, keys: Keys, attempt: Attempt) -> None:
    """This attempt was right, and another is still to come: it does not count, those before it do."""
    for whose, _ in attempt.counted_as(keys):
        await connection.execute(_TAKE_BACK, {"whose": whose})


async def clear(connection: Connection, keys: Keys, username: str) -> None:
    """Forget the failures of a user name, wherever they came from."""
    await connection.execute(_CLEAR_NAME, {"name": Attempt(username, "").name(keys)})
