"""What the design promises of the code's shape, and that each guard can fail."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "assets", "ptq")
TREES = (*PACKAGES, "benchmarks", "tests")
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50
MAX_ENTRY_LINES = 10
MAX_COMMAND_LINES = 15
# Today's numbers: lower them when one goes, never raise them without saying why in the commit.
MAX_NOQA = 28
MAX_TYPE_IGNORE = 16
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
EVENTS = {
    *("click", "change", "input", "submit", "select", "load", "unload", "tick", "upload", "edit"),
    *("release", "blur", "focus", "play", "pause", "stop", "clear", "then", "success", "failure"),
    *("on", "api", "key_up", "timer", "edited", "picked", "played", "switched"),
}
_PATH = re.compile(r"`([\w.][\w./-]*)`")
_FILE_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".css", ".js"}


def sources(root: Path, trees: Iterable[str] = TREES) -> Iterator[Path]:
    """Every Python file of the trees."""
    for tree in trees:
        yield from sorted((root / tree).rglob("*.py"))


# --- sizes, names and docstrings -------------------------------------------------------------


def oversized(root: Path) -> list[str]:
    """Modules and functions beyond their limits."""
    found = []
    for path in sources(root):
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > MAX_MODULE_LINES:
            found.append(f"{path.relative_to(root)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    found.append(f"{path.relative_to(root)}: {node.name} has {length} lines")
    return found


def long_commands(cli: Path) -> list[str]:
    """Subcommands beyond their limit, which their docstring and imports do not count towards."""
    found = []
    for node in ast.parse(cli.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or [a.arg for a in node.args.args] != [
            "arguments"
        ]:
            continue
        code = [line for line in node.body[1:] if not isinstance(line, ast.ImportFrom)]
        length = (node.end_lineno or node.lineno) - code[0].lineno + 1
        if length > MAX_COMMAND_LINES:
            found.append(f"{node.name} has {length} lines")
    return found


def vaguely_named(root: Path) -> list[str]:
    """Modules whose name says nothing."""
    paths = (path.relative_to(root) for path in sources(root))
    return [str(path) for path in paths if VAGUE_NAMES & {path.stem, *path.parent.parts}]


def undocumented(root: Path) -> list[str]:
    """Modules with code but no docstring."""
    return [
        str(path.relative_to(root))
        for path in sources(root)
        if (tree := ast.parse(path.read_text(encoding="utf-8"))).body
        and not ast.get_docstring(tree)
    ]


def test_modules_and_functions_stay_small() -> None:
    assert not oversized(ROOT)


def test_the_entry_and_the_commands_stay_small(tmp_path: Path) -> None:
    assert len((ROOT / "app.py").read_text().splitlines()) <= MAX_ENTRY_LINES
    assert not long_commands(ROOT / "ptq" / "cli.py")
    lines = "    x = 1\n" * (MAX_COMMAND_LINES + 1)
    long = tmp_path / "cli.py"
    long.write_text(f'def _dance(arguments: object) -> None:\n    """Dance."""\n{lines}')
    assert long_commands(long) == [f"_dance has {MAX_COMMAND_LINES + 1} lines"]


def test_no_module_has_a_vague_name() -> None:
    assert not vaguely_named(ROOT)


def test_every_module_says_what_it_is() -> None:
    assert not undocumented(ROOT)


def test_the_page_is_a_package_and_no_test_folder_shadows_one() -> None:
    assert (ROOT / "app" / "__init__.py").exists()  # without it app.py would shadow the package
    assert not any((ROOT / "tests" / name).exists() for name in ("app", "ptq", "__init__.py"))


def test_the_shape_guards_can_fail(tmp_path: Path) -> None:
    package = tmp_path / "ptq"
    package.mkdir()
    (package / "utils.py").write_text('"""A name that says nothing."""\n')
    (package / "silent.py").write_text("x = 1\n")
    (package / "empty.py").write_text("")
    (package / "long.py").write_text('"""Long."""\n' + "x = 1\n" * MAX_MODULE_LINES)
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    (package / "function.py").write_text(f'"""One function."""\n\n\ndef f() -> None:\n{body}')
    assert vaguely_named(tmp_path) == ["ptq/utils.py"]
    assert undocumented(tmp_path) == ["ptq/silent.py"]
    assert [line.split(":")[0] for line in oversized(tmp_path)] == [
        "ptq/function.py",
        "ptq/long.py",
    ]


# --- suppressions ----------------------------------------------------------------------------


def comments(root: Path, word: str) -> list[str]:
    """Comments that begin with a word, such as a suppression."""
    found = []
    for path in sources(root):
        reader = io.StringIO(path.read_text(encoding="utf-8")).readline
        for token in tokenize.generate_tokens(reader):
            if token.type == tokenize.COMMENT and token.string.lstrip("# ").startswith(word):
                found.append(f"{path.relative_to(root)}:{token.start[0]}")
    return found


@pytest.mark.parametrize(("word", "limit"), [("noqa", MAX_NOQA), ("type: ignore", MAX_TYPE_IGNORE)])
def test_suppressions_do_not_spread(word: str, limit: int) -> None:
    found = comments(ROOT, word)
    assert len(found) <= limit, found


def test_the_suppression_count_sees_comments_only(tmp_path: Path) -> None:
    (tmp_path / "ptq").mkdir()
    (tmp_path / "ptq" / "a.py").write_text('x = "# noqa"  # noqa: E501\ny = 1  # type: ignore[x]\n')
    assert comments(tmp_path, "noqa") == ["ptq/a.py:1"]
    assert comments(tmp_path, "type: ignore") == ["ptq/a.py:2"]


# --- listeners of the page -------------------------------------------------------------------


def handler_names(app: Path) -> set[str]:
    """Functions and methods that app.handlers defines, a module or a package."""
    paths = [*app.glob("handlers.py"), *app.glob("handlers/*.py")]
    nodes = (
        node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def _listener(call: ast.Call) -> ast.expr | None:
    """What an event call is to run; ``None`` where it runs only JavaScript or is no event."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in EVENTS:
        return None
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    position = 1 if call.func.attr == "on" else 0  # gr.on takes the triggers first
    given = named.get("fn", call.args[position] if len(call.args) > position else None)
    return None if isinstance(given, ast.Constant) and given.value is None else given


def _local_meanings(tree: ast.Module) -> dict[str, list[str]]:
    """Names of handlers behind the plain names of a module: imports, and loops over handlers."""
    meanings: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app.handlers"):
            meanings |= {alias.asname or alias.name: [alias.name] for alias in node.names}
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple | ast.List):
            looped = [e.attr if isinstance(e, ast.Attribute) else "" for e in node.iter.elts]
            meanings[ast.unparse(node.target)] = looped
    return meanings


def foreign_listeners(app: Path) -> list[str]:
    """Listeners in the page's view that are no functions of its handlers."""
    known = handler_names(app)
    found = []
    for path in (app / "ui.py", *sorted((app / "tabs").rglob("*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        meanings = _local_meanings(tree)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            listener = _listener(call)
            if listener is None:
                continue
            names = (
                [listener.attr]
                if isinstance(listener, ast.Attribute)
                else meanings.get(ast.unparse(listener), [""])
            )
            if not known.issuperset(names):
                found.append(f"{path.name}:{call.lineno}: {ast.unparse(listener)}")
    return found


def test_every_listener_is_a_named_handler() -> None:
    assert len(handler_names(ROOT / "app")) > 10
    assert not foreign_listeners(ROOT / "app")


def test_the_listener_guard_can_fail(tmp_path: Path) -> None:
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "run.py").write_text("class Run:\n    def go(self): ...\n")
    (tmp_path / "handlers" / "tabs.py").write_text("def show(): ...\n")
    (tmp_path / "ui.py").write_text(
        "from app.handlers.tabs import show\n"
        "button.click(handlers.go, inputs=[a]).then(show)\n"
        "button.click(None, js='() => 1')\n"
        "gr.on([button.click], handlers.go)\n"
        "for endpoint in (handlers.go,):\n    gr.api(endpoint)\n"
        "button.click(lambda: 1)\n"
        "page.load(fn=local)\n"
        "gr.on([button.click], handlers.missing)\n"
    )
    lines = [line.split(": ")[0] for line in foreign_listeners(tmp_path)]
    assert lines == ["ui.py:7", "ui.py:8", "ui.py:9"]


# --- documents -------------------------------------------------------------------------------


def missing_paths(root: Path, document: Path) -> list[str]:
    """Back-ticked paths of a document that do not exist."""
    found = []
    for name in _PATH.findall(document.read_text(encoding="utf-8")):
        tree, suffix = name.split("/")[0], Path(name).suffix
        is_path = "/" in name and (tree in TREES or suffix in _FILE_SUFFIXES)
        if (is_path or suffix in {".py", ".md", ".toml"}) and not (root / name).exists():
            found.append(name)
    return found


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_files_that_exist(name: str) -> None:
    document = ROOT / name
    assert not missing_paths(ROOT, document)


def test_the_document_guard_can_fail(tmp_path: Path) -> None:
    (tmp_path / "ptq").mkdir()
    document = tmp_path / "README.md"
    document.write_text("`ptq/` `ptq/gone.py` `cvssp/audioldm` `docs/gone.md` `run` `gone.py`")
    assert missing_paths(tmp_path, document) == ["ptq/gone.py", "docs/gone.md", "gone.py"]
