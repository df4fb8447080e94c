"""Processes beside the API: Celery workers that run attempts and deliveries, and control, which releases them.

celery         the Celery app and its settings
asyncio_pool   Celery's pool on one event loop
jobs           the task that runs an attempt
deliveries     the task that sends a webhook
control        the dispatchers and every other loop
leadership     one loop, one advisory lock
sharding       the dispatchers, shared out among the control processes
"""
