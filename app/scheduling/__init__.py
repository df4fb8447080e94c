"""Release: who runs next, what wakes, what was lost.

fairness   share free slots over lanes and tenants, pure
dispatch   one pass of the dispatcher: what to publish is its answer
waker      level-triggered: time come, money free, deadline passed
reaper     attempts whose lease is over, with their holds
config     SchedulingConfig
errors     NotLeading

Owns dispatch_shard, released.
"""
