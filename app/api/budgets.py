"""Budgets: what the caller's tenant may spend, has spent, and has set aside."""

from typing import Any, Final, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.openapi import raises
from app.api.routing import OnPlatform, Route, UsageRead
from app.api.wire import Listed, Money, answer
from app.budgets import accounts
from app.budgets.accounts import View
from app.core import money

router: Final = APIRouter(route_class=Route, tags=["usage"])

_EXAMPLE: Final[dict[str, Any]] = {
    "object": "budget", "account": "tenant", "window": "total", "limit": "10", "spent": "0.0041",
    "held": "0", "free": "9.9959", "blocked": False,
}  # fmt: skip


class BudgetBody(BaseModel):
    """One account with its hard limit. `free` is what further calls may set aside."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    object: Literal["budget"] = "budget"
    account: Literal["tenant"] = "tenant"
    window: Literal["total"] = Field("total", description="The limit holds for all time.")
    limit: Money
    spent: Money
    held: Money = Field(description="Set aside for calls under way.")
    free: Money
    blocked: bool = Field(
        description="A call cost more than was held for it: an operator must look."
    )

    @classmethod
    def of(cls, view: View) -> "BudgetBody":
        """An account as it was read."""
        free = max(0, view.limit_nanousd - view.spent_nanousd - view.held_nanousd)
        blocked = view.overrun_at is not None
        return cls(
            limit=money.to_wire(view.limit_nanousd), spent=money.to_wire(view.spent_nanousd),
            held=money.to_wire(view.held_nanousd), free=money.to_wire(0 if blocked else free),
            blocked=blocked,
        )  # fmt: skip


@router.get("/v1/budgets", response_model=Listed[BudgetBody], responses=raises("not_found"))
async def list_budgets(caller: UsageRead, platform: OnPlatform) -> Response:
    """List the budgets of the tenant: its account, with limit, spent and held."""
    async with platform.db.transaction() as session:
        account = await accounts.of(session, caller.tenant)
    return answer(Listed[BudgetBody](data=[BudgetBody.of(account)], next_cursor=None))
