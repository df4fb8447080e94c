"""Levers that stop something at once: admission, model calls, webhooks.

levers   turn_off, turn_on, off, listed
errors   Disabled

Owns switch. Who depends on a lever asks `off` and may remember it for a second.
"""
