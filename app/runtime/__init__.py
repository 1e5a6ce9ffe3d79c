"""The embedded default: PostgreSQL, Valkey and the parts of the broker as one process tree."""
