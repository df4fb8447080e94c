"""Release: who runs next, what wakes, what was lost.

fairness   who gets the next free slot: lanes, tenants, caps, pure
dispatch   one pass of the dispatcher: what to publish is its answer
shards     who serves which tenants, where there are several dispatchers
division   the slots shared out to the shards
costs      what workflows really cost beside what was predicted
capping    caps that operators set: put, clear, listed
explaining chances: whether a queued job could leave now
waker      level-triggered: time come, money free, deadline passed
quarantine jobs that run alone, and whether somebody runs them
reaper     attempts whose lease is over, with their holds
config     SchedulingConfig
errors     NotLeading

Owns dispatch_shard, served, released, workflow_cost, cap.
"""
