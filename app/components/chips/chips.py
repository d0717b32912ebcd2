"""The component of the chips."""

from pathlib import Path
from typing import Any

from app.components.chips.value import ChipsValue
from app.components.static_html import StaticHTML
from ptq.errors import ConfigError

_MAX_CHARACTERS = 200


class Chips(StaticHTML):
    """Groups of short texts; a click on one raises ``picked`` with its ``text``.

    Args:
        value: What it offers at first.
        options: What every Gradio component takes, such as ``elem_id`` and ``visible``.
    """

    def __init__(
        self,
        value: ChipsValue | None = None,
        **options: Any,  # noqa: ANN401 - Gradio's own
    ) -> None:
        super().__init__(
            value or {"groups": []},
            folder=Path(__file__).parent,
            name="chips",
            scripts=("chips",),
            **options,
        )


def picked_text(event: object) -> str:
    """The text of a ``picked`` event (``gr.EventData``).

    Raises:
        ConfigError: What arrived is no text.
    """
    text = getattr(event, "text", None)
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_CHARACTERS:
        raise ConfigError("The suggestion could not be read; type the prompt instead.")
    return text
