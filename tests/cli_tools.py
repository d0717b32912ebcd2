"""What tests of the command line share."""

import json
from typing import Any

import pytest

from ptq.cli import main

SMALL = (
    *("--steps", "2", "--seconds", "0.64", "--prompts", "1"),
    *("--calibration", "uniform", "--calibration-prompts", "1", "--no-covering"),
)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run a subcommand with ``--json`` and read the one object that it prints."""
    assert main([*arguments, "--json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value
