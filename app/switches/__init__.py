"""Levers that stop something at once: admission, model calls, webhooks; parts of the queue.

levers   turn_off, turn_on, off, listed, states: the kill switches
pauses   pause, drain, resume: of a tenant, a lane, a workflow, a worker
errors   Disabled, Draining

Owns switch, pause. Who depends on a lever asks for it and may remember it for a second.
"""
