"""JobBar: what the running job does, how long it takes, and a way to stop it."""

from app.components.job_bar.bar import JobBar
from app.components.job_bar.value import JobBarValue

__all__ = ["JobBar", "JobBarValue"]
