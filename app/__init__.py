"""Towpath: durable, fair and budgeted job queues for long-running LLM work. The house plan is docs/blueprint.md."""
