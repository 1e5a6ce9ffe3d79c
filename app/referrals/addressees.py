"""Whom an originator may name."""

from collections.abc import Sequence

from app.parties.records import Directory


def unknown_addressees(named: Sequence[str] | None, originator: str, directory: Directory) -> list[dict[str, str]]:
    """A fault (`pointer`, `detail`) for each that is no party that receives referrals, or is the originator itself."""
    faults = []
    for index, code in enumerate(named or ()):
        party = directory.get(code)
        if party is None or not party.receives or code == originator:
            faults.append({"pointer": f"/addressees/{index}", "detail": "Name another body that receives referrals."})
    return faults
