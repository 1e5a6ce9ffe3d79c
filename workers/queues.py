"""The names of the queues. A message in one is a wake-up and carries nothing."""

WORK = "work"
"""Referrals wait for their dispatches, rows of a batch to be accepted, or dispatches for an adapter."""

QUEUES = (WORK,)
