"""Running jobs: claim, plan, step, checkpoint, finish; and what keeps the lease alive meanwhile.

runner      one attempt from claim to end
faults      what becomes of an attempt that broke off: parked, tried again, failed
bounds      the time that a step may take
runtime     what a worker process runs jobs with: groups, ledger, gateway, embedder
heartbeat   leases renewed, signals heard
steps       one module a kind
interventions  people's answers to calls in doubt
config      ExecutionConfig
errors      StepFailed, StepTimedOut, ResultTooLarge

Owns no table.
"""
