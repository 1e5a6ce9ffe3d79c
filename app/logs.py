"""Structured logs: one JSON object a line on stderr, from structlog and the standard library alike.

No personal data: an exception is told as its type, its SQLSTATE where it has one, and its frames as
`file:line:function`, never its message (a driver's holds rows, a validator's what was sent) and never local values.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the HTTP request being served; empty outside one."""

Stamp = Callable[[WrappedLogger, str, EventDict], EventDict]
"""Makes a whole log line of an event: structlog's kind of processor, used for the standard library's records too."""

_FRAMES_TOLD = 25
_CAUSES_TOLD = 4
# Libraries that put URLs, statements or raw paths into their informative messages.
_QUIET = ("uvicorn.access", "httpx", "httpcore", "sqlalchemy.engine", "asyncio")
# Celery formats its messages from a mapping; these of its values tell no content.
_HARMLESS = frozenset({"name", "id", "description", "runtime", "hostname"})


def configure(part: str, level: str) -> None:
    """Send every log of this process to stderr as JSON. `part` names the process (gateway, worker, scheduler …).

    `level` is a name such as INFO. Call it once, early; servers and Celery must be told to leave logging alone.
    """
    stamp = _stamp(part)
    _configure_structlog(stamp, level, lasting=True)
    _requests.configure(stamp, level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(stamp))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda caught: _log_uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)


def _configure_structlog(stamp: Stamp, level: str, *, lasting: bool) -> None:
    structlog.configure(
        processors=[stamp, _render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_name: structlog.BytesLogger(sys.stderr.buffer),
        cache_logger_on_first_use=lasting,
    )


def logger() -> FilteringBoundLogger:
    """A logger: `log.info("what happened", key=value)`. Values must not be personal data."""
    made: FilteringBoundLogger = structlog.get_logger()
    return made


class _Requests:
    """The lines of served requests: those of one turn of the event loop leave together, by one system call."""

    def __init__(self, stamp: Stamp) -> None:
        self.configure(stamp, "INFO")
        self._waiting: list[bytes] = []

    def configure(self, stamp: Stamp, level: str) -> None:
        self._stamp = stamp
        self._least = logging.getLevelNamesMapping()[level]

    def add(self, level: str, facts: EventDict) -> None:
        if logging.getLevelNamesMapping()[level.upper()] < self._least:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append(_render(None, level, self._stamp(None, level, {"event": "request", **facts})))

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        sys.stderr.buffer.write(b"\n".join((*lines, b"")))
        sys.stderr.buffer.flush()


def tell_request(facts: EventDict, *, quiet: bool = False) -> None:
    """Log a served request as `log.info("request", **facts)` would (`quiet`: as `log.debug`), at a third of the cost.

    Call it in the event loop; the line is written at the end of the loop's present turn.
    """
    _requests.add("debug" if quiet else "info", facts)


def describe(error: BaseException, *, causes: int = _CAUSES_TOLD) -> dict[str, Any]:
    """An exception without values: `type`, `frames` (innermost last), `sqlstate`, `cause`, `group`."""
    kind = type(error)
    told: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}", "frames": _frames(error.__traceback__)}
    sqlstate = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
    if isinstance(sqlstate, str):
        told["sqlstate"] = sqlstate
    if causes and isinstance(error, BaseExceptionGroup):
        told["group"] = [describe(inner, causes=causes - 1) for inner in error.exceptions[:_CAUSES_TOLD]]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if causes and cause is not None:
        told["cause"] = describe(cause, causes=causes - 1)
    return told


def _frames(traceback: TracebackType | None) -> list[str]:
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file = "/".join(code.co_filename.split(os.sep)[-3:])
        frames.append(f"{file}:{traceback.tb_lineno}:{code.co_name}")
        traceback = traceback.tb_next
    return frames[-_FRAMES_TOLD:]


def _stamp(part: str) -> Stamp:
    def stamp(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        line = {
            "time": datetime.now(UTC),  # rendered as RFC 3339
            "level": "error" if method == "exception" else method,
            "event": event.pop("event"),
            "part": part,
            "pid": os.getpid(),
        }
        if request := request_id.get():
            line["request_id"] = request
        error = _error_of(event.pop("exc_info", None))
        line.update(event)
        if error is not None:
            line["exception"] = describe(error)
        return line

    return stamp


def _error_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    if exc_info is True:
        exc_info = sys.exception()
    return exc_info if isinstance(exc_info, BaseException) else None


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    # An unknown object is told by its type: its repr may hold anything.
    return orjson.dumps(event, default=lambda value: f"<{type(value).__qualname__}>", option=orjson.OPT_NON_STR_KEYS)


class _Formatter(logging.Formatter):
    """Formats the standard library's records as the same JSON."""

    def __init__(self, stamp: Stamp) -> None:
        super().__init__()
        self._stamp = stamp

    def format(self, record: logging.LogRecord) -> str:
        event: EventDict = {"event": _message(record), "logger": record.name, "exc_info": record.exc_info}
        return _render(None, "", self._stamp(None, record.levelname.lower(), event)).decode()


def _message(record: logging.LogRecord) -> str:
    """The record's message without what libraries put in about an exception or a result."""
    template = str(record.msg)
    if isinstance(record.args, Mapping):
        return template % _Harmless(record.args)
    if record.exc_info or record.name == "asyncio":
        return template.partition("\n")[0]
    return record.getMessage()


class _Harmless(dict[str, object]):
    """The harmless ones of a record's values; the others read `withheld`."""

    def __init__(self, values: Mapping[str, object]) -> None:
        super().__init__({key: value for key, value in values.items() if key in _HARMLESS})

    def __missing__(self, _key: str) -> str:
        return "withheld"


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), traceback)
        return
    logger().critical("uncaught exception", exc_info=error)


# structlog's own default would print local values: a process that was never configured, such as a test, is safe too.
_configure_structlog(_stamp("unnamed"), "INFO", lasting=False)
_requests = _Requests(_stamp("unnamed"))
