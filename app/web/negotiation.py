"""Content negotiation: which media type on offer an `Accept` header prefers (RFC 9110, section 12.5.1). Pure."""

from collections.abc import Sequence


def preferred(accept: str | None, offers: Sequence[str]) -> str | None:
    """The offer that `accept` likes best, the earlier of equals; None where it takes none. No header takes anything."""
    ranges = [_range(part) for part in (accept or "*/*").split(",") if part.strip()]
    liked = [(_quality(offer, ranges), offer) for offer in offers]
    best = max((quality for quality, _ in liked), default=0.0)
    return next((offer for quality, offer in liked if quality == best), None) if best > 0 else None


def _range(part: str) -> tuple[str, float]:
    """A media range and its weight. Parameters other than `q` are not told apart: we offer one form of each type."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weights = [value for key, _, value in (piece.partition("=") for piece in parameters) if key.strip() == "q"]
    try:
        return name, min(1.0, max(0.0, float(weights[0]))) if weights else 1.0
    except ValueError:
        return name, 0.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The weight of the most specific range that covers the offer."""
    weights = dict(ranges)
    for name in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        if name in weights:
            return weights[name]
    return 0.0
