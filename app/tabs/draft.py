"""What a visitor has written stays through a reload: in the browser, for one tab alone."""

import hashlib
import json
from collections.abc import Sequence

import gradio as gr

from app.settings import Settings
from app.tabs.wiring import QUIET
from ptq.presets import PRESETS

_KEEP = "(...values) => {{ sessionStorage.setItem({key}, JSON.stringify(values)); }}"
_RESTORE = "(...values) => JSON.parse(sessionStorage.getItem({key})) ?? values"


def keep_draft(
    page: gr.Blocks, controls: Sequence[gr.components.Component], settings: Settings
) -> None:
    """Keep what controls say at every change, and put it back when the page is loaded again.

    What was written under other limits or presets is left where it is: it might not fit.

    Args:
        page: Whose loading brings it back.
        controls: Of the study.
        settings: Their limits.
    """
    known = hashlib.sha256(repr((settings, dict(PRESETS))).encode()).hexdigest()
    key = json.dumps(f"ptq4adm-draft-{known[:16]}")
    inputs = list(controls)
    page.load(None, inputs, inputs, js=_RESTORE.format(key=key), **QUIET)
    changes = [control.change for control in controls]
    gr.on(changes, None, inputs, None, js=_KEEP.format(key=key), **QUIET)
