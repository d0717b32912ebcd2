"""Errors that a visitor can act on."""

import functools
import html
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from app.messages import message_of
from ptq.errors import PTQError

P = ParamSpec("P")
R = TypeVar("R")
_TITLE = "That did not work"


def explained(method: Callable[P, R]) -> Callable[P, R]:
    """Turn every error raised on purpose into a message on the page; the inputs stay."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except PTQError as error:
            raise gr.Error(_text(error), title=_TITLE, print_exception=False) from error

    return wrapper


def warn(error: PTQError) -> None:
    """Show an error while the handler goes on, for example to undo what was refused."""
    gr.Warning(_text(error), title=_TITLE)


def _text(error: PTQError) -> str:
    # The message may quote the visitor, and the toast would read it as HTML.
    return html.escape(message_of(error), quote=False)
