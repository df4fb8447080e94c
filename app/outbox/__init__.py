"""Events that others will act on, stored in the commit that caused them.

events    names of events, their wire form, record

Owns outbox_event. Knows no receiver: the webhooks room relays them.
"""
