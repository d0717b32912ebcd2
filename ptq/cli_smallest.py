"""The command line's search for the smallest plan that stays non-inferior.

Plans are tried on suite A (exploration). The one that is found was chosen by those prompts, so that
it is judged once more, on suite B. Studies of the same prompts share their full-precision clips.
"""

import argparse
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptq.cli_budget import (
    allocator_of,
    front_text,
    plan_figures,
    sensitivity_table,
    write_rules,
)
from ptq.cli_options import check_target, study_config
from ptq.cli_output import quiet_output
from ptq.errors import ConfigError
from ptq.report_markdown import megabytes
from ptq.study_config import StudyConfig

if TYPE_CHECKING:  # torch is loaded by what needs it only
    from ptq.adms.base import AudioDiffusionModel
    from ptq.allocate import Allocation
    from ptq.banks import Ear
    from ptq.results import FdRecord
    from ptq.run_folder import RunFolder
    from ptq.study_events import OnEvent

ROUNDS = 5
_RULES = Path("smallest.rules")
_NONE = "Not even the largest plan is non-inferior; measure with more schemes of more bits."


def smallest_options(sub: argparse.ArgumentParser) -> None:
    """Add what the search takes besides a study's own options."""
    sensitivity_table(sub)
    sub.add_argument("--rounds", type=int, default=ROUNDS, help="how often the range is halved")
    sub.add_argument("--to", type=Path, help=f"where to write the rules: {_RULES}")


def smallest_found(
    adm: "AudioDiffusionModel", arguments: argparse.Namespace, on_event: "OnEvent"
) -> tuple[dict[str, Any], str]:
    """The smallest plan whose study is non-inferior, as JSON values and as text."""
    from ptq.smallest import smallest_plan

    allocator, layers = allocator_of(adm, arguments)
    path = _target(arguments.to)
    search = study_config(arguments, adm, "exploration")
    trials = _Trials(adm=adm, ear=_ear(search), runs=arguments.out, on_event=on_event)
    with quiet_output():
        best, probes = smallest_plan(
            allocator, lambda found: _passes(trials(search, found)), arguments.rounds
        )
    rows = [
        {**plan_figures(probe.allocation, layers), "passed": probe.passed}
        for probe in sorted(probes, key=lambda probe: probe.allocation.size_bytes)
    ]
    value: dict[str, Any] = {"probes": rows, "smallest": None, "judged": None, "path": None}
    if best is None:
        return value, f"{front_text(rows)}\n\n{_NONE}"
    write_rules(path, best)
    text = f"Smallest non-inferior: {megabytes(best.size_bytes)}. Rules: {path}"
    if arguments.prompt_file is None:
        judged = trials(study_config(arguments, adm, "final"), best)
        value["judged"] = None if judged is None else asdict(judged)
        text += f"\nOn prompts that it was not chosen on: {_said(judged)}."
    else:
        text += "\nIt was chosen on these very prompts: judge it on others before you rely on it."
    value["path"] = str(path)
    value["smallest"] = plan_figures(best, layers)
    return value, f"{front_text(rows)}\n\n{text}"


def _target(wanted: Path | None) -> Path:
    """Where the rules will be written; nothing is overwritten unasked."""
    if wanted is None and _RULES.exists():
        raise ConfigError(f"{_RULES} is there already; name another file with --to, or this one.")
    path = wanted or _RULES
    check_target(path)
    return path


def _ear(config: StudyConfig) -> "Ear":
    """The ear that judges; refused where a study is too small for it."""
    from ptq.metrics.embed.ear import find_ear
    from ptq.metrics.paired_banks import MIN_CLIPS_PER_DIM

    ear = find_ear()
    if isinstance(ear, str):
        raise ConfigError(f"Nothing can be called non-inferior without an ear: {ear}")
    fewest = MIN_CLIPS_PER_DIM * ear.dim
    prompts = len(set(config.prompts))
    if prompts < fewest:
        raise ConfigError(f"{prompts} prompts are too few for a verdict; give -n {fewest} or more.")
    return ear


@dataclass(kw_only=True)
class _Trials:
    """Runs studies of plans; those of the same prompts share their full-precision clips."""

    adm: "AudioDiffusionModel"
    ear: "Ear"
    runs: Path
    on_event: "OnEvent"
    _last: dict[tuple[str, ...], "RunFolder"] = field(default_factory=dict)

    def __call__(self, config: StudyConfig, found: "Allocation") -> "FdRecord | None":
        """The Fréchet distance of a plan and its verdict, if there is one."""
        from ptq.study import run_folder_of, run_study, share_full_precision

        config = replace(config, quant=found.config())
        run = run_folder_of(config, self.adm, self.runs)
        if config.prompts in self._last:
            share_full_precision(self._last[config.prompts], run)
        report = run_study(config, self.adm, runs=self.runs, ear=self.ear, on_event=self.on_event)
        self._last[config.prompts] = run
        return report.fd


def _passes(fd: "FdRecord | None") -> bool:
    from ptq.metrics import Verdict

    return fd is not None and fd.verdict == Verdict.NON_INFERIOR.value


def _said(fd: "FdRecord | None") -> str:
    if fd is None:
        return "no Fréchet distance could be computed; see the run's report"
    increase = "" if fd.increase_pct is None else f", {fd.increase_pct:+.1f} % FD"
    return f"{fd.verdict}{increase}"
