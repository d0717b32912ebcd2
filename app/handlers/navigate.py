"""Moves between tabs."""

import gradio as gr


def open_run() -> gr.Tabs:
    """Open the Run tab."""
    return gr.Tabs(selected="run")


def close_coverage() -> gr.Accordion:
    """Close what shows another run by now."""
    return gr.Accordion(open=False)


def open_configure() -> gr.Tabs:
    """Open the Configure tab."""
    return gr.Tabs(selected="configure")


def open_results() -> gr.Tabs:
    """Open the Results tab."""
    return gr.Tabs(selected="results")
