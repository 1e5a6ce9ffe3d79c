"""The Celery tasks, each "run this batch", and the scheduler that wakes them."""
