"""Letting time pass: the rows are moved into the past, and the timekeeper looks."""

from datetime import timedelta

from app.db import Database
from app.referrals.timekeeper import Timekeeper
from tests.acts import change
from workers.recording import WORKER

_MOMENTS = ("created_at", "queued_at", "clock_from", "due_at", "expires_at", "next_check_at", "queried_at", "chased_at")


async def let_pass(database: Database, passed: timedelta) -> None:
    """Let time pass for every referral and dispatch, and nobody look."""
    moved = ", ".join(f"{column} = {column} - CAST(:passed AS interval)" for column in _MOMENTS)
    await change(database, f"UPDATE dispatch SET {moved}", passed=passed)  # noqa: S608
    await change(database, "UPDATE referral SET created_at = created_at - CAST(:passed AS interval)", passed=passed)


async def pass_time(database: Database, passed: timedelta) -> int:
    """Let time pass, and the timekeeper look; returns how many it took."""
    await let_pass(database, passed)
    return await Timekeeper().run(database, WORKER)
