"""The embedded data services, by the name under which everything outside `runtime` imports them."""

from app.runtime.postgres import EmbeddedPostgres
from app.runtime.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedValkey"]
