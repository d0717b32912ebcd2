"""The component of the A/B player."""

import math
import re
from pathlib import Path
from typing import Any

from app.components.ab_player.value import PlayerValue, TrackValue
from app.components.static_html import StaticHTML
from ptq.errors import ConfigError

MAX_TRACKS = 5
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class ABPlayer(StaticHTML):
    """Plays several versions of a sound on one clock; the listener switches between them.

    The browser decodes every clip at 48 kHz and starts all of them at the same sample. A switch
    only moves gains, so position and loop are common to all, and two equal clips sound as one.
    It raises ``played`` when playing starts and ``switched`` with ``index`` at a switch.

    Args:
        value: What it plays at first.
        options: What every Gradio component takes, such as ``elem_id`` and ``visible``.
    """

    def __init__(
        self,
        value: PlayerValue | None = None,
        **options: Any,  # noqa: ANN401 - Gradio's own
    ) -> None:
        super().__init__(
            value,
            folder=Path(__file__).parent,
            name="player",
            scripts=("engine", "waveform", "player"),
            **options,
        )

    def postprocess(self, value: PlayerValue | None) -> PlayerValue:
        """Check what the browser is to load.

        Raises:
            ConfigError: Too many tracks, an address of another site, or a gain that is no number.
        """
        checked: PlayerValue = {"tracks": [], "caption": "", **(value or {})}
        if len(checked["tracks"]) > MAX_TRACKS:
            raise ConfigError(
                f"The player got {len(checked['tracks'])} tracks and takes {MAX_TRACKS}; "
                "leave some out."
            )
        for track in checked["tracks"]:
            _check(track)
        return checked


def _check(track: TrackValue) -> None:
    url, colour = track["url"], track.get("colour", "#000000")
    if not url.startswith("/") or url.startswith("//"):
        raise ConfigError(f"The clip address {url!r} leaves this page; give a path such as /file=…")
    if not math.isfinite(track["gain_db"]):
        raise ConfigError(f"The gain of {track['label']!r} is {track['gain_db']}; give it in dB.")
    if not _COLOUR.fullmatch(colour):
        raise ConfigError(f"The colour {colour!r} is not one; write #rrggbb.")
