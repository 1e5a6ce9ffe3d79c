"""JSON answers from rows: UUIDs and UTC times as RFC 4122 and RFC 3339 text, without a model in between."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def written(document: Any) -> bytes:
    """Plain data as JSON: dicts, lists, text, numbers, UUIDs, dates and times."""
    return orjson.dumps(document, default=str, option=_OPTIONS)


def json_answer(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An `application/json` answer of JSON that is written already."""
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def json_response(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An `application/json` answer of plain data."""
    return json_answer(written(document), status=status, headers=headers)
