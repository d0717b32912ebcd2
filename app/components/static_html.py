"""StaticHTML: the base of the page's own components.

``gr.HTML`` runs its templates as code, with the value pasted in. A component here has a template
without a single placeholder; its script reads the value and writes text nodes. So no text of a
visitor is ever parsed, and Gradio never re-renders what the script has built.
"""

from abc import ABCMeta
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable

_COMMON_STYLE = Path(__file__).with_suffix(".css")
_TEMPLATE_CODE = ("{{", "${", "`", "\\")


class WithoutStub(ComponentMeta):  # type: ignore[misc]  # Gradio has no types here
    """Makes the class without Gradio's side effect: a ``.pyi`` file beside every subclass.

    Type checkers prefer such a file to the module itself, and it goes stale with the next edit.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> Self:
        """Make the class as ``ComponentMeta`` would, but for the file."""
        if "__init__" in attributes:
            attributes["__init__"] = updateable(attributes["__init__"])
        return ABCMeta.__new__(cls, name, bases, attributes)


class StaticHTML(gr.HTML, metaclass=WithoutStub):  # type: ignore[misc]
    """A component made of files that lie beside its module.

    Args:
        value: What its script shows, JSON-able.
        folder: Folder of the files.
        name: Name of the ``.html`` and ``.css`` file.
        scripts: Names of the ``.js`` files, in the order in which they are joined.
        options: What every Gradio component takes, such as ``elem_id`` and ``visible``.

    Raises:
        ValueError: The template or the style sheet holds code that Gradio would run.
    """

    def __init__(
        self,
        value: object,
        *,
        folder: Path,
        name: str,
        scripts: Sequence[str],
        **options: Any,  # noqa: ANN401 - Gradio's own
    ) -> None:
        super().__init__(
            value=value,
            html_template=_static(folder / f"{name}.html"),
            css_template=_static(_COMMON_STYLE) + _static(folder / f"{name}.css"),
            js_on_load="\n".join(_read(folder / f"{script}.js") for script in scripts),
            apply_default_css=False,
            **options,
        )

    def preprocess(self, payload: object) -> None:  # noqa: ARG002
        """Ignore what a browser sends: these components speak through events, which are checked."""
        return

    def postprocess(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """Pass the value on; each component says what it takes."""
        return value

    def api_info(self) -> dict[str, Any]:
        """What an API client sees."""
        return {"type": "object", "title": type(self).__name__}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _static(path: Path) -> str:
    text = _read(path)
    for code in _TEMPLATE_CODE:
        if code in text:
            raise ValueError(f"{path.name} holds {code!r}, which Gradio would run; take it out.")
    return text
