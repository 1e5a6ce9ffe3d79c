"""The process's clock. What must agree between processes (leases, due work) is read from the database instead."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)
