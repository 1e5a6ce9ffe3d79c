"""The door for co-ordinators: queue figures, pages, actions."""
