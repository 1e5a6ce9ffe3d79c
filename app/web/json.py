"""JSON answers from rows: UUIDs and UTC times as RFC 4122 and RFC 3339 text, without a model in between."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def json_response(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An `application/json` answer of plain data: dicts, lists, text, numbers, UUIDs, dates and times."""
    return Response(
        orjson.dumps(document, default=str, option=_OPTIONS),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )
