"""The Celery app: lanes as queues, early acknowledgement, no result backend, nothing retried by Celery."""

from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu import Exchange, Queue

from app.bootstrap import reporting, settings
from app.jobs.states import LANES

WEBHOOKS = "towpath.webhooks"


def queue_of(lane: str) -> str:
    """The Celery queue of a lane."""
    return f"towpath.{lane}"


def _queue(name: str) -> Queue:
    # An exchange of its own: on a shared default one, every queue would get a copy.
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


def make(chosen: settings.Settings) -> Celery:
    """An app on the broker of these settings."""
    app = Celery("towpath", include=["workers.jobs", "workers.deliveries"])
    app.conf.update(
        broker_url=chosen.broker_url,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_keepalive": True, "health_check_interval": 10},
        task_queues=[_queue(name) for name in (*map(queue_of, LANES), WEBHOOKS)],
        task_default_queue=queue_of("standard"),
        task_ignore_result=True,
        task_acks_late=False,  # the row and its lease carry the work, not the message
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # a message stays in its lane until a slot is free
        task_send_sent_event=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
    )
    return app


celery = make(settings.load())


@setup_logging.connect
def _log(**_: Any) -> None:
    reporting.begin("worker", settings.load())
