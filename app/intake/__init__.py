"""Admission: what is accepted is durable, once an intent, and may be afforded.

admission   admit and admit_many: a job, its idempotency record, first event and audit entry in one commit
charges     settle: tokens charged at admission and not used go back to the limits
documents   upload: a file, its document and the job that ingests it
config      IntakeConfig
errors      BudgetTooSmall

Owns no table: it writes the first rows of job, job_event, idempotency_record,
budget_account and token_charge.
"""
