"""Chips: short texts in groups, to be picked with one click."""

from app.components.chips.chips import Chips
from app.components.chips.value import ChipGroup, ChipsValue

__all__ = ["ChipGroup", "Chips", "ChipsValue"]
