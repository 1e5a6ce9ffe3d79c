"""Everything asynchronous: the Celery worker, the scheduler, the adapters to agencies, the simulation."""
