"""How every listener of the page is connected."""

from typing import Any

QUIET: dict[str, Any] = {
    "show_progress": "hidden",  # the job bar shows progress; a spinner over each result does not
    "api_visibility": "private",
    # A light handler must not wait behind another visitor's. Without the queue it would not wait
    # either, but Gradio then drops the text of its errors.
    "concurrency_limit": None,
}
# What a control says last is what the page shows in the end, however quickly it was changed.
LATEST: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
