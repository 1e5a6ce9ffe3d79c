"""People: accounts of a party with roles, and all that signing in with one needs."""
