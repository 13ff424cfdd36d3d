"""The background runner: schedules, the job queue, job processes, reactions to events."""
