"""Errors of the budgets room."""

from app.core import money
from app.core.errors import TowpathError


class BudgetExhausted(TowpathError):
    """A hold would pass the hard cap. Context: reason, budget {account, limit, spent, held, asked}.

    `need_nanousd` is the hold that found no room; `final` says that waiting can't help, since it is
    more than the account can ever have free.
    """

    code = "budget_exhausted"

    def __init__(
        self,
        *,
        account: str,
        reason: str,
        asked_nanousd: int,
        limit_nanousd: int,
        spent_nanousd: int,
        held_nanousd: int,
        final: bool,
    ) -> None:
        self.need_nanousd = asked_nanousd
        self.final = final
        budget = {
            "account": account,
            "limit": money.to_wire(limit_nanousd),
            "spent": money.to_wire(spent_nanousd),
            "held": money.to_wire(held_nanousd),
            "asked": money.to_wire(asked_nanousd),
        }
        super().__init__(_SAID[reason].format(account=account), reason=reason, budget=budget)

    @classmethod
    def at_admission(
        cls, *, asked_nanousd: int, limit_nanousd: int, spent_nanousd: int, held_nanousd: int
    ) -> "BudgetExhausted":
        """The envelope of a job has no room in its tenant's account, or that account is blocked."""
        fits = asked_nanousd <= limit_nanousd - spent_nanousd - held_nanousd
        return cls(
            account="tenant",
            reason="overrun" if fits else "no_room",
            asked_nanousd=asked_nanousd,
            limit_nanousd=limit_nanousd,
            spent_nanousd=spent_nanousd,
            held_nanousd=held_nanousd,
            final=asked_nanousd > limit_nanousd,
        )


_SAID = {
    "no_room": "The {account}'s budget has no room for this.",
    "overrun": "The {account}'s budget is blocked: a call cost more than was held for it.",
}


class AccountUnknown(TowpathError):
    """The tenant has no account: nothing may be spent. Context: tenant."""

    code = "account_unknown"


class HoldUnknown(TowpathError):
    """No hold was made under this id."""

    code = "hold_unknown"
