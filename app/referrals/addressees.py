"""Whom an originator may name."""

from collections.abc import Sequence

from app.parties.records import Directory


def unknown_addressees(named: Sequence[str] | None, originator: str, directory: Directory) -> list[dict[str, str]]:
    """A fault (`pointer`, `detail`) for each that is no party that receives referrals, or is the originator itself."""
    receiving = directory.receiving
    return [
        {"pointer": f"/addressees/{index}", "detail": "Name another body that receives referrals."}
        for index, code in enumerate(named or ())
        if code not in receiving or code == originator
    ]
