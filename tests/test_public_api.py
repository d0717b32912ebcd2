"""What ``import ptq`` offers, and the tree of its errors."""

import ast
from pathlib import Path

import pytest

import ptq
from ptq import errors

LIBRARY = Path(ptq.__file__).parent
ERRORS = [value for value in vars(errors).values() if isinstance(value, type)]


def test_all_is_sorted_and_complete() -> None:
    # Upper-case constants first, then classes, then functions: the order that ruff keeps.
    def rank(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert ptq.__all__ == sorted(ptq.__all__, key=rank)
    submodules = {path.stem for path in LIBRARY.iterdir()}
    public = {name for name in vars(ptq) if not name.startswith("_")} - submodules
    # A function may share its name with no module, so nothing public is lost above.
    assert set(ptq.__all__) - submodules == public


def test_everything_public_is_documented() -> None:
    for name in ptq.__all__:
        value = getattr(ptq, name)
        assert not callable(value) or value.__doc__, name


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_one_of_ours_public_and_in_the_tree(error: type[Exception]) -> None:
    assert issubclass(error, errors.PTQError)
    assert error.__name__ in ptq.__all__
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def raised_names(folder: Path) -> set[str]:
    """Names of the exceptions that the code of a folder raises."""
    nodes = (
        node
        for path in folder.rglob("*.py")
        if path.stem != "__main__"  # leaves the interpreter with the exit status
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
    calls = (node.exc for node in nodes if isinstance(node, ast.Raise))
    return {
        call.func.id
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }


def test_every_error_is_raised_somewhere_and_no_other_one() -> None:
    ours = {error.__name__ for error in ERRORS} - {"PTQError"}
    assert raised_names(LIBRARY) == ours


def test_the_error_guard_can_fail(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f():\n    raise RuntimeError('no way out')\n")
    assert raised_names(tmp_path) == {"RuntimeError"}
