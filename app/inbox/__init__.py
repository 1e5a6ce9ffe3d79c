"""The door for partner agencies: poll, acknowledge, respond."""
