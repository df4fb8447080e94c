"""Every action that the trail can tell of: the object's kind, then what is done to it, as a command."""

from typing import Final, Literal, get_args

Action = Literal[
    "budget.clear_overrun",
    "budget.open",
    "budget.set_limit",
    "cap.clear",
    "cap.set",
    "collection.delete",
    "credential.refuse",
    "document.delete",
    "job.admit",
    "job.cancel",
    "job.retry",
    "key.issue",
    "key.revoke",
    "plan.create",
    "plan.set_limits",
    "price.enter",
    "request.refuse",
    "switch.turn_off",
    "switch.turn_on",
    "tenant.create",
    "tenant.resume",
    "tenant.set_caps",
    "tenant.set_limits",
    "tenant.suspend",
    "webhook_endpoint.change",
    "webhook_endpoint.create",
    "webhook_endpoint.delete",
    "webhook_endpoint.disable",
    "webhook_endpoint.rotate_secret",
    "workflow.push",
]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
