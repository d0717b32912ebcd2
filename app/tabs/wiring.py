"""How every listener of the page is connected."""

from typing import Any

QUIET: dict[str, Any] = {
    "show_progress": "hidden",  # the job bar shows progress; a spinner over each result does not
    "api_visibility": "private",
    "queue": False,  # a light handler must not wait behind another visitor's
}
