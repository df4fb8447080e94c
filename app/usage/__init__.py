"""What was used and what it costs: the price book, metered lines, their sums, reports.

pricing    the price book: what a call may cost at most, what it did cost
catalogue  list prices of hosted models, as the genai-prices package knows them
meter      usage lines, written by budgets' ledger alone
rollups    pending lines to sums of a quarter of an hour
reports    exact sums by time, tenant, workflow, model, provider and lane
exports    a report as CSV
errors     UnpricedModel

Owns price, usage_line, usage_pending, usage_rollup.
"""
