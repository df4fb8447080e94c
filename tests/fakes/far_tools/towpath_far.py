"""An installed package of tools, as journeys' processes see it: each posts to the address in FAR_END."""

import os
from typing import Any

import aiohttp

from app.tools.tool import EFFECTS, Call, Tool


def made(effect: Any) -> Tool:
    async def run(call: Call) -> Any:
        headers = {"Idempotency-Key": call.effect_key}
        async with aiohttp.ClientSession() as http:
            address = f"{os.environ['FAR_END']}/{effect}"  # noqa: TID251 - no setting of Towpath's
            async with http.post(address, json=call.arguments, headers=headers) as answer:
                return {"status": answer.status}

    return Tool(
        name=f"far.{effect}", version="1", description="Posts to the far end.",
        input={"type": "object"}, run=run, effect=effect,
    )  # fmt: skip


TOOLS = [made(effect) for effect in EFFECTS]
