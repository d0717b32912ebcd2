"""ABPlayer: two to five versions of one sound, switched at the same sample."""

from app.components.ab_player.player import ABPlayer
from app.components.ab_player.value import PlayerValue, TrackValue, clip_url

__all__ = ["ABPlayer", "PlayerValue", "TrackValue", "clip_url"]
