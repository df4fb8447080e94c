"""Admission: what is accepted is durable, once an intent, and may be afforded.

admission   admit and admit_many: a job, its idempotency record, first event and audit entry in one commit
charges     settle: tokens charged at admission and not used go back to the limits
documents   upload: a file, its document and the job that ingests it
backlog     Backlog: ceilings of what waits, and which lanes are shed under pressure
uniqueness  admit: of the jobs of one unique key, one at a time
moving      move: a client moves its own job into a lane that takes jobs in
levels      count: how much waits, published for all to read
config      IntakeConfig
errors      QueueFull, Overloaded, DuplicateJob

Owns queue_level and unique_key. It writes the first rows of job, job_event, idempotency_record,
budget_account and token_charge.
"""
