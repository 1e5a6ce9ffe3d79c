"""A sheet as HTML, and as PDF: made in a process of its own, bounded in size, time and number."""

import asyncio
import os
import sys
from dataclasses import asdict
from pathlib import Path

import orjson
from fastapi import Response

from app.errors import NOT_ACCEPTABLE, UNAVAILABLE, Problem
from app.logs import logger
from app.reporting.sheet import Sheet
from app.web import pages

MOST_BYTES = 1_000_000
"""Of what was written, as JSON: some two hundred pages."""

SECONDS = 20.0
AT_ONCE = 2

_TYPESETTER = Path(__file__).with_name("typesetter.py")
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")

log = logger()

pages.add_templates(Path(__file__).with_name("templates"))


async def as_html(sheet: Sheet) -> Response:
    """The sheet as a page to read and to print; drawn in a thread, for it may be long."""
    return await asyncio.to_thread(pages.render, "product.html", sheet=sheet)


class Press:
    """Makes PDFs, `AT_ONCE` at a time in this process; others wait their turn."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._seconds = seconds

    async def pdf(self, written: bytes) -> bytes:
        """The PDF of a sheet (as `for_press` gives it). Raises `Problem` (503) where it is not made in time."""
        try:
            async with asyncio.timeout(self._seconds), self._turns:
                return await _typeset(written)
        except TimeoutError:
            log.error("a PDF was not made in time", bytes=len(written))
            raise Problem(UNAVAILABLE, "The PDF was not made in time. HTML and JSON are.", retry_after=30) from None


def for_press(sheet: Sheet) -> bytes:
    """The sheet as the typesetter reads it. Raises `Problem` (406) where it is too large for one."""
    written = orjson.dumps(asdict(sheet))
    if len(written) > MOST_BYTES:
        raise Problem(NOT_ACCEPTABLE, "This product is too large for a PDF: ask for text/html or application/json.")
    return written


async def _typeset(written: bytes) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(_TYPESETTER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"RAYON_NUM_THREADS": "2", **{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}},
    )
    try:
        made, _ = await process.communicate(written)
    finally:
        if process.returncode is None:  # out of time, or whoever asked went away
            process.kill()
            await process.wait()
    if process.returncode != 0:
        log.error("a PDF could not be made", code=process.returncode, bytes=len(written))
        raise Problem(UNAVAILABLE, "The PDF could not be made. HTML and JSON are.", retry_after=60)
    return made
