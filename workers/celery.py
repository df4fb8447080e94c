"""The Celery app: lanes as queues, early acknowledgement, no result backend, nothing retried by Celery."""

import sys
from typing import Any

from celery import Celery, bootsteps
from celery.signals import setup_logging
from kombu import Exchange, Queue
from typing_extensions import override

from app.bootstrap import reporting, settings
from app.jobs.states import LANES, QUARANTINE

WEBHOOKS = "towpath.webhooks"
EVENTS_SECONDS = 0.25


def queue_of(lane: str) -> str:
    """The Celery queue of a lane."""
    return f"towpath.{lane}"


def _queue(name: str) -> Queue:
    # An exchange of its own: on a shared default one, every queue would get a copy.
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


class Gathered(bootsteps.StartStopStep):
    """Send the events of tasks several times a second, not each by itself: half of a message's cost."""

    requires = ("celery.worker.consumer.events:Events",)

    @override
    def start(self, c: Any) -> None:
        """Take the flush over from the dispatcher, which asks for one at each event."""
        events = c.event_dispatcher
        events.on_send_buffered = None
        events.buffer_limit = sys.maxsize  # it would flush in the pool's loop, and block it
        self._flush = c.timer.call_repeatedly(EVENTS_SECONDS, events.flush)

    @override
    def stop(self, c: Any) -> None:
        """The connection is gone or going; the next start takes what is left."""
        self._flush.cancel()


def make(chosen: settings.Settings) -> Celery:
    """An app on the broker of these settings."""
    app = Celery("towpath", include=["workers.jobs", "workers.deliveries"])
    app.conf.update(
        broker_url=chosen.broker_url,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_keepalive": True,
            "health_check_interval": 10,
            # The row's dispatch lease finds a lost message; the broker's own book costs four commands each.
            "ack_emulation": False,
        },
        task_queues=[_queue(name) for name in (*map(queue_of, (*LANES, QUARANTINE)), WEBHOOKS)],
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
    # By name: control publishes with this app, and needs nothing of what a worker runs jobs with.
    app.steps["consumer"].update((Gathered, "workers.holding:Held"))
    return app


celery = make(settings.load())


@setup_logging.connect
def _log(**_: Any) -> None:
    reporting.begin("worker", settings.load())
