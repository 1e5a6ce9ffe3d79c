"""Numbers of a document by their value, however they are written: 37.0 is 37 (RFC 8785). Pure."""

from pydantic import BeforeValidator


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Stands last in the annotation of a strict integer, behind its bounds: before them it would hide them from OpenAPI."""
