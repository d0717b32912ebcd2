"""A parametric synthesizer of everyday sounds: 44 sources, each from a seed, a pace and a pitch."""

from assets.recipe.synth import (  # noqa: F401 - imported for the voices that they register
    ambiguous,
    animal,
    environment,
    human,
    music,
    nature,
    things,
)
from assets.recipe.synth.base import SAMPLE_RATE_HZ, VOICES, Voicing, render_source

__all__ = ["SAMPLE_RATE_HZ", "VOICES", "Voicing", "render_source"]
