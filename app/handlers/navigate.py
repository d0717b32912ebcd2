"""Moves between tabs."""

import gradio as gr


def open_run() -> gr.Tabs:
    """Open the Run tab."""
    return gr.Tabs(selected="run")


def open_configure() -> gr.Tabs:
    """Open the Configure tab."""
    return gr.Tabs(selected="configure")


def open_results() -> gr.Tabs:
    """Open the Results tab."""
    return gr.Tabs(selected="results")
