"""Choices whose list changes while the page is open."""

import gradio as gr

from app.components.static_html import WithoutStub


class ChoiceList(gr.Dropdown, metaclass=WithoutStub):  # type: ignore[misc]
    """A drop-down whose handlers check what was chosen.

    Gradio checks a value against the choices that the visitor's session was sent last, and forgets
    sessions that were idle while many others came: the page would refuse everything from then on.
    """

    is_template = True

    def preprocess(self, payload: object) -> object:
        """Hand on what the browser sent."""
        return payload


class ChoiceButtons(gr.Radio, metaclass=WithoutStub):  # type: ignore[misc]
    """Radio buttons whose handlers check what was chosen, as in ``ChoiceList``."""

    is_template = True

    def preprocess(self, payload: object) -> object:
        """Hand on what the browser sent."""
        return payload
