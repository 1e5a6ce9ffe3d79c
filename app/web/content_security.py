"""The Content-Security-Policy (W3C, level 3): only what a page itself names runs, and only from here."""

_RULES = (
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
)

NO_SCRIPT = "; ".join(_RULES)
"""The policy of whatever is no page of ours: no script runs."""


def of_page(nonce: str) -> str:
    """The policy of one answer that is a page: its scripts, and what they import, run by the nonce made for it."""
    return f"{NO_SCRIPT}; script-src 'nonce-{nonce}'"
