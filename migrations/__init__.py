"""The database's schema, step by step; `gain migrate` applies what is missing."""
