"""JobBar: what the running job does, how long it takes, and a way to stop it."""

from app.components.job_bar.bar import JobBar, JobBarValue

__all__ = ["JobBar", "JobBarValue"]
