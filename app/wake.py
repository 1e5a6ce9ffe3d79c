"""The wake-up port: how a commit tells the workers that there is something to do.

A wake-up carries nothing: work is a row in a state, and a lost, doubled or late wake-up changes nothing but the delay.
"""

from typing import Protocol


class Wake(Protocol):
    """Wakes workers. A call returns at once, never raises, and may be merged; nothing may rely on one arriving."""

    def work(self) -> None:
        """Referrals wait for their dispatches, rows of a batch to be accepted, or dispatches for an adapter."""


class Nobody:
    """Wakes nobody: the scheduler finds the work within a second."""

    def work(self) -> None:
        """Do nothing."""
