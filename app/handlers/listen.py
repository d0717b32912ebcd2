"""What the Listen tab does."""

from typing import Any

import gradio as gr

from app.components.ab_player import PlayerValue
from app.components.fact_table import TableValue
from app.gallery import Gallery
from app.handlers.explain import explained
from app.present import PLAN_LABELS, player
from app.run_tables import gallery_table
from ptq.errors import ConfigError


class ListenHandlers:
    """Answers the events of the gallery.

    Args:
        gallery: What there is to hear.
    """

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery

    def prompts_of(self, family: str) -> list[tuple[str, int]]:
        """The prompts of a family with their places."""
        return [(self.gallery.items[i].prompt, i) for i in self.gallery.of_family(family)]

    @explained
    def choose_family(self, family: str) -> tuple[Any, PlayerValue, TableValue]:
        """Show a family's prompts, and the first of them in the player."""
        prompts = self.prompts_of(family)
        first = prompts[0][1]
        return gr.Radio(choices=prompts, value=first), *self.show(first)

    @explained
    def choose_prompt(self, place: int) -> tuple[PlayerValue, TableValue]:
        """Put one prompt into the player."""
        if place not in range(len(self.gallery.items)):
            raise ConfigError("The gallery has no such prompt; choose one from the list.")
        return self.show(place)

    def show(self, place: int) -> tuple[PlayerValue, TableValue]:
        """The player and the figures of one item."""
        item, plans = self.gallery.items[place], self.gallery.plans
        files = [(PLAN_LABELS.get(plan, plan), item.clips[plan]) for plan in plans]
        caption = f"{item.prompt}  ·  seed {item.seed}"
        return player(files, caption), gallery_table(item, plans)
