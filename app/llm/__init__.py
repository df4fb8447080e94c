"""Model calls: which route, what it may cost, the call itself, what it did cost.

gateway   complete: one completion, held, called, settled; Ask, Message, Reply
provider  one call of an OpenAI-compatible server
answers   what a server's answer says: a completion, or what went wrong and whether it was served
counting  the most tokens a prompt can be, and about how many it is
config    LlmConfig, Route
errors    ProviderFailed, ContextTooLong

Owns no table: money is the ledger's, prices are usage's.
"""
