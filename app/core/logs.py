"""Structured logs on standard error, with the ids that join them, and error reports without secrets.

A room logs with `structlog.get_logger(__name__)`; an edge binds the ids once:
`with logs.bound(job=…, tenant=…, attempt=…, trace=…):`. Text of customers is never logged.
"""

import json
import logging
import sys
from collections.abc import Callable, Collection, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
import structlog
from sentry_sdk.integrations.logging import LoggingIntegration

from app.core import redaction

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

# They write a line a request, at debug level with headers and prompts: held at WARNING whatever the level.
QUIET: Final = (
    "aiohttp.access", "anthropic", "asyncio", "celery.app.trace", "celery.worker.strategy", "httpcore", "httpx", "httpx2", "openai",
    "sqlalchemy.engine", "uvicorn.access",
)  # fmt: skip
# What a request or a model call is made of. It is the customers', and stays out of error reports.
CONTENT: Final = frozenset(
    {
        "body",
        "content",
        "data",
        "input",
        "messages",
        "output",
        "params",
        "payload",
        "prompt",
        "vars",
    }
)

# Sentry takes these from the standard library's logging. The others don't go that way, which takes four
# times as long.
REPORTED: Final = frozenset({"error", "exception", "critical", "fatal"})
_EXPLAIN: Final = (
    structlog.processors.format_exc_info
)  # an exception as text, and no local variable

EventDict = MutableMapping[str, Any]


def configure(process: str, level: str, json: bool, known: Collection[str] = ()) -> None:
    """Send every log of this process, the libraries' too, to standard error: JSON lines or for a terminal.

    `known` are the secrets that this process was started with; they are masked by value.
    """

    def name_process(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    render = _as_json(known) if json else _for_a_terminal(known)
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        name_process,
    ]

    def put(logger: Any, method: str, event: EventDict) -> Any:
        if method in REPORTED:
            return _hand_over(logger, method, event)
        sys.stderr.write(render(event) + "\n")
        raise structlog.DropEvent

    structlog.configure(
        processors=[*shared, put],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda _logger, _method, event: render(event),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def bound(**ids: str) -> AbstractContextManager[None]:
    """Every log line inside carries these ids: job, tenant, attempt, trace, delivery."""
    return structlog.contextvars.bound_contextvars(**ids)


def sentry(dsn: str | None, known: Collection[str] = ()) -> None:
    """Report what is logged as an error to Sentry, if there is a DSN: the trace and the ids alone.

    No customer's text and no secret leaves, nor the value of any variable.
    """
    if dsn is None:
        return

    def scrub(event: "Event", hint: "Hint") -> "Event":
        return _report(event, hint, known)

    sentry_sdk.init(
        dsn=dsn,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,  # they hold statements and requests
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration(level=None, event_level=logging.ERROR)],
        before_send=scrub,
    )


def _hand_over(
    logger: Any, method: str, event: EventDict
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Into the standard library's logging, with the exception where Sentry's handler looks for it."""
    args, kwargs = structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, method, event)
    return args, dict(kwargs) | {"exc_info": event.get("exc_info")}


def _as_json(known: Collection[str]) -> Callable[[EventDict], str]:
    """A line of JSON. Few lines hold what might be a secret: only those are looked at field by field."""
    encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode
    spellings = redaction.spellings(known)

    def render(event: EventDict) -> str:
        event = _EXPLAIN(None, "", event)
        line = encode(event)
        return (
            encode(redaction.redact(event, known)) if redaction.suspect(line, spellings) else line
        )

    return render


def _for_a_terminal(known: Collection[str]) -> Callable[[EventDict], str]:
    draw = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())

    def render(event: EventDict) -> str:
        return str(draw(None, "", redaction.redact(_EXPLAIN(None, "", event), known)))

    return render


def _report(event: "Event", hint: "Hint", known: Collection[str]) -> "Event":
    """What is sent of an event. A log record's fields become its extra data, its text stays a template.

    A foreign exception may quote what it choked on, so only our own keep their words.
    """
    record = hint.get("log_record")
    fields: dict[str, Any] = {}
    if record is not None:
        message = record.msg
        if isinstance(message, dict):
            fields = {name: held for name, held in message.items() if name != "exc_info"}
            message = fields.pop("event", "")
        event["logentry"] = {"message": str(message)}
    event["extra"] = fields
    event.pop("breadcrumbs", None)
    request = event.get("request")
    if request is not None:
        event["request"] = {name: request[name] for name in ("method", "url") if name in request}
    for raised in event.get("exception", {}).get("values", []):
        if not str(raised.get("module")).startswith("app."):
            raised["value"] = redaction.MASK
    masked: Event = redaction.redact(_without_content(event), known)
    return masked


def _without_content(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: redaction.MASK if name in CONTENT else _without_content(held)
                for name, held in value.items()
            }
        case list() | tuple():
            return [_without_content(held) for held in value]
        case _:
            return value
