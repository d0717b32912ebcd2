"""Who may import whom, and what an import may load; and that each guard can fail."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "assets", "ptq")
HEAVY = ("torch", "gradio", "diffusers", "transformers", "scipy", "plotly")
_LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
_BROKEN = re.compile(r"^(.+) BROKEN\b", re.MULTILINE)

_TREE = "The page and the recipe import the library, never the reverse"
_LIBRARY = "ptq is layered"
_PAGE = "app is layered"
_GRADIO = "Gradio lives in the view only"
_ZOOS = "Model zoos are touched by adapters, embedders and the recipe only"
_VOCABULARY = "The vocabulary is torch-free"
_METRICS = "Metrics judge audio, they know nothing of quantization"
_ALGORITHMS = "An algorithm knows no other one, but for the rounding that all start from"
_VIEW = "The page's view holds no tensors"

# Module, what it wrongly imports ("" for a module without a place), and the contract that objects.
VIOLATIONS = [
    ("ptq.errors", "app.settings", _TREE),
    ("ptq.study", "assets.recipe", _TREE),
    ("app.jobs", "assets.recipe", _TREE),
    ("ptq.spelling", "ptq.plan", _LIBRARY),
    ("ptq.newcomer", "", _LIBRARY),
    ("app.settings", "app.jobs", _PAGE),
    ("app.newcomer", "", _PAGE),
    ("app.job", "gradio", _GRADIO),
    ("ptq.cli", "gradio", _GRADIO),
    ("ptq.quantize", "diffusers", _ZOOS),
    ("app.jobs", "transformers", _ZOOS),
    ("ptq.report", "torch", _VOCABULARY),
    ("ptq.metrics.levels", "ptq.scheme", _METRICS),
    ("ptq.algorithms.rtn", "ptq.algorithms.mse", _ALGORITHMS),
    ("ptq.algorithms.newcomer", "", _ALGORITHMS),
    ("app.jobs", "torch", _VIEW),
]


def lint_imports(folder: Path) -> str:
    """What the linter prints about a source tree."""
    command = [sys.executable, "-c", _LINT, "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_import_contracts_hold() -> None:
    printed = lint_imports(ROOT)
    assert not _BROKEN.findall(printed), printed
    assert "0 broken" in printed


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each contract has to say of a copy of the tree with every violation in it."""
    folder = tmp_path_factory.mktemp("broken")
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for module, imported, _ in VIOLATIONS:
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        with path.open("a", encoding="utf-8") as source:
            source.write(f"\nimport {imported}\n" if imported else "\n")
    summary, _, details = lint_imports(folder).partition("Broken contracts")
    parts = re.split(r"^(.+)\n-{8,}$", details, flags=re.MULTILINE)
    said = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {name: said[name] for name in _BROKEN.findall(summary)}


@pytest.mark.parametrize(("module", "imported", "contract"), VIOLATIONS)
def test_a_contract_notices_a_violation(
    complaints: dict[str, str], module: str, imported: str, contract: str
) -> None:
    expected = f"{module} -> {imported}" if imported else module.rpartition(".")[2]
    assert expected in complaints[contract]


def loaded_by(statement: str, folder: Path) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import ptq", "import ptq.cli, ptq.adms.registry, ptq.prompts.suites"]
)
def test_the_vocabulary_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement, ROOT) == set()


def test_the_light_import_guard_can_fail(tmp_path: Path) -> None:
    for name in ("torch", "gradio"):
        (tmp_path / f"{name}.py").write_text('"""Stands in for a heavy package."""\n')
    (tmp_path / "ptq.py").write_text("import torch\n\n\ndef later() -> None:\n    import gradio\n")
    assert loaded_by("import ptq", tmp_path) == {"torch"}
