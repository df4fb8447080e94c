"""Prompts as versioned files: `library/<name>/<number>.md`, filled in by a sandbox.

library    render, versions: a prompt as chat messages
errors     PromptUnknown, PromptRefused

A version that was released is never edited: the next one is a new file. What a step fills in is
data, whatever it says: it is never a template, and marks that chat formats give a meaning are
taken out of it. Owns no table.
"""
