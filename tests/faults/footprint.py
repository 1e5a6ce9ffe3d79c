"""What processes hold: threads, open files and connections, memory. After a fault it must be what it was before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

MORE_THREADS = 4
"""A process may have so many more than it had: helpers of its standard library come when first needed, and stay."""

MORE_FILES = 12
"""A connection pool grows to what it may hold and keeps that: ten connections, and some files for the loop."""

MORE_MEBIBYTES = 60.0
"""Memory is not given back page by page: what a load leaves behind once is no leak, the same again and again is."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """How many processes, and of all of them together: threads, open files (connections too), memory in MiB."""

    processes: int
    threads: int
    files: int
    mebibytes: float

    @classmethod
    def of(cls, processes: Sequence[psutil.Process]) -> "Footprint":
        """What these processes hold now. Raises `psutil.NoSuchProcess` where one has ended."""
        return cls(
            len(processes),
            sum(process.num_threads() for process in processes),
            sum(process.num_fds() for process in processes),
            sum(process.memory_info().rss for process in processes) / 2**20,
        )

    def more_than(self, usual: "Footprint") -> list[str]:
        """What is more than usual, by more than it may be."""
        each = max(usual.processes, 1)
        limits = {
            "processes": usual.processes,
            "threads": usual.threads + MORE_THREADS * each,
            "files": usual.files + MORE_FILES * each,
            "mebibytes": usual.mebibytes + MORE_MEBIBYTES * each,
        }
        return [
            f"{getattr(self, name):.0f} {name} instead of {getattr(usual, name):.0f}"
            for name, most in limits.items()
            if getattr(self, name) > most
        ]


def differences(now: Mapping[str, Footprint], usual: Mapping[str, Footprint]) -> list[str]:
    """What the parts hold more than usual; a part that is not there is told as well."""
    missing = [f"{part}: not there" for part in usual if part not in now or now[part].processes < usual[part].processes]
    return missing + [f"{part}: {what}" for part in now.keys() & usual for what in now[part].more_than(usual[part])]
