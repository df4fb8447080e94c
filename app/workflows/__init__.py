"""Workflows as data: the language, immutable versions, the planner, the checkpoints of jobs.

definitions   the language: parse, validate, predict
retries       when a step that failed is tried again: policies and how they lie over each other
expressions   JMESPath in values that begin with "="
versions      push, find, release; the shipped workflows
engine        plan: definition + recorded results → what to do next, pure
checkpoints   record a step, load what is recorded
errors        UnknownWorkflow, ExpressionFailed

Owns workflow, workflow_version, step.
"""
