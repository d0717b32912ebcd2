"""Notice: sentences that inform, warn or explain an error, in place."""

from app.components.notice.notice import Notice
from app.components.notice.value import NoticeValue, Tone

__all__ = ["Notice", "NoticeValue", "Tone"]
