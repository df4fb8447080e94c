"""Money a tenant may spend: accounts, holds before paid calls, settlements after them.

ledger     reserve, settle, release, abandon: the only writers of holds and of what accounts add up to
decisions  what the ledger decides, pure
accounts   opening, limits, what is free, clearing an overrun
errors     BudgetExhausted, AccountUnknown, HoldUnknown

Owns budget_account, reservation, ledger_entry, effect. Knows no job and no model, only their ids.
An account's columns are the sums of its entries; an entry is never changed.
"""
