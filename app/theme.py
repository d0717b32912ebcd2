"""The look of the page: calm colours with enough contrast in both themes, fonts of the system."""

from pathlib import Path

import gradio as gr

_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

STYLE_SHEET = Path(__file__).with_suffix(".css")


def build_theme() -> gr.themes.Base:
    """The theme; no font comes from another site."""
    theme: gr.themes.Base = gr.themes.Base(
        primary_hue="blue",
        secondary_hue="slate",
        neutral_hue="slate",
        radius_size="lg",
        font=_SANS,
        font_mono=_MONO,
    ).set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#0f1319",
        block_background_fill="#ffffff",
        block_background_fill_dark="#171c24",
        border_color_primary="#d9dee6",
        border_color_primary_dark="#2b3340",
        block_border_color="#d9dee6",
        block_border_color_dark="#2b3340",
        input_background_fill="#ffffff",
        input_background_fill_dark="#10151c",
        input_border_color="#8a94a3",
        input_border_color_dark="#616d7f",
        body_text_color="#18202b",
        body_text_color_dark="#e6eaf0",
        body_text_color_subdued="#4b5768",
        body_text_color_subdued_dark="#a8b3c2",
        block_info_text_color="#4b5768",
        block_info_text_color_dark="#a8b3c2",
        input_border_width="1px",
        block_title_text_color="#18202b",
        block_title_text_color_dark="#e6eaf0",
        checkbox_label_background_fill="#eef1f5",
        checkbox_label_background_fill_dark="#202733",
        checkbox_label_background_fill_selected="#dbe6ff",
        checkbox_label_background_fill_selected_dark="#223a6b",
        block_label_text_color="#18202b",
        block_label_text_color_dark="#e6eaf0",
        block_title_text_weight="600",
        color_accent="#1d4ed8",
        button_primary_background_fill="#1d4ed8",
        button_primary_background_fill_hover="#1e40af",
        button_primary_background_fill_dark="#2f63e0",
        button_primary_background_fill_hover_dark="#3a6ee8",
        button_primary_text_color="#ffffff",
        block_shadow="none",
        block_shadow_dark="none",
    )
    return theme
