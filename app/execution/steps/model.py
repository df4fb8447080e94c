"""A model step: a prompt of the library, one completion through the gateway."""

from typing import Any

from app.budgets.ledger import Labels, Place
from app.execution.steps.bench import Bench, Outcome
from app.llm import gateway
from app.llm.gateway import Ask, Message
from app.prompts import library
from app.workflows.definitions import ModelStep


async def run(
    bench: Bench, step: ModelStep, name: str, item: int, arguments: dict[str, Any]
) -> Outcome:
    """Buy one completion, or read the reply that was bought before a crash. The result: {text, finish, model}."""
    claimed = bench.claimed
    labels = Labels(
        claimed.key,
        claimed.workflow,
        claimed.version_number,
        claimed.lane,
        claimed.end_user,
        tuple(claimed.tags),
    )
    place = Place(claimed.tenant, claimed.job, claimed.attempt, name, labels=labels, item=item)
    prompt, _, version = step.prompt.partition("@")
    messages = [Message(**one) for one in library.render(prompt, int(version), **arguments)]
    ask = Ask(
        messages,
        max_tokens=step.max_tokens,
        temperature=step.temperature,
        stop=step.stop,
        rung=step.rung,
        traceparent=claimed.traceparent,
    )
    reply = await gateway.complete(bench.runtime.gateway, place, ask)
    result = {
        "text": reply.text,
        "finish": reply.finish,
        "model": f"{reply.provider}/{reply.model}",
    }
    facts = {
        "prompt": step.prompt, "provider": reply.provider, "model": reply.model, "route": reply.route,
        "input_tokens": reply.tokens.input, "cached_tokens": reply.tokens.cached,
        "output_tokens": reply.tokens.output, "reasoning_tokens": reply.tokens.reasoning,
        "cost_nanousd": reply.cost_nanousd, "calls": reply.calls, "estimated": reply.estimated,
        "cache": "recorded" if reply.recorded else "miss",
    }  # fmt: skip
    return Outcome(result, facts)
