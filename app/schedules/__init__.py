"""Schedules: jobs of a tenant that are admitted by the clock.

timing    when: a cron expression in a time zone, its jitter, and what follows from times that were missed; pure
book      create, change, delete, get, listed, runs
firing    step: due times become runs, runs become jobs; run_now
config    SchedulesConfig
errors    ScheduleExists

Owns schedule, schedule_run. A due time becomes a run in the commit that moves the schedule on, and a run's
id is the id that its job is admitted under: what dies in between is taken up again, and makes no second job.
"""
