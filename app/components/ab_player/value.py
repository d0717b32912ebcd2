"""What the A/B player plays; free of Gradio, so that view-models can build it."""

from pathlib import Path
from typing import NotRequired, TypedDict
from urllib.parse import quote


class TrackValue(TypedDict):
    """One version of the sound.

    Attributes:
        label: What the listener reads; any text.
        url: Where the browser finds the clip, FLAC or 24-bit WAV: ``/gradio_api/file=...``.
        gain_db: Applied while loudness is matched. Keep it at or below 0, lest a peak clips.
        colour: ``#rrggbb``; without one the player takes its own.
    """

    label: str
    url: str
    gain_db: float
    colour: NotRequired[str]


class PlayerValue(TypedDict, total=False):
    """What the player plays.

    Attributes:
        tracks: One to five versions, the reference first.
        caption: What they are, such as the prompt; any text.
    """

    tracks: list[TrackValue]
    caption: str


def clip_url(path: Path) -> str:
    """The address of a file that the server was allowed to hand out (``allowed_paths``)."""
    return "/gradio_api/file=" + quote(path.resolve().as_posix())
