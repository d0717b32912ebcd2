"""The workbench: owns the loaded models, the jobs and the runs; turns requests into studies."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from app.adm_shelf import AdmShelf
from app.archive import write_archive
from app.budgets import Budgets
from app.finished_run import FinishedRun
from app.housekeeping import prune_runs
from app.job import JobFunction, JobSnapshot, JobState, OnEvent, ShouldStop
from app.job_limit import limited
from app.jobs import JobRegistry
from app.pace import Forecast, Pace, recent_studies
from app.prompt_map import PromptMap
from app.rules import Draft, draft_plan
from app.settings import Settings
from app.study_request import StudyRequest
from app.ticket import Ticket
from ptq.adms.registry import AdmCard
from ptq.adms.sampling import SamplingSettings
from ptq.banks import Ear
from ptq.calibration.calibrator import needs_calibration
from ptq.calibration.shipped import shipped_calibration
from ptq.errors import CheckpointError, ConfigError
from ptq.layer_spec import LayerInfo
from ptq.metrics.embed.ear import find_ear
from ptq.plan import resolve_plan
from ptq.report import Report
from ptq.run_folder import REPORT_NAME
from ptq.study import run_folder_of, run_study
from ptq.study_config import StudyConfig

EXAMPLE_ID = "example"
_DOWNLOADS = "downloads"
_KEEP_FINISHED_S = 24 * 3600.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What to expect of a study, and how long it will take if any of the model was ever timed.

    ``ships_calibration`` says that the ranges that the model ships with are just those asked for,
    ``calibrates`` that the study measures its own. ``ahead`` are jobs that would run before it.
    """

    config: StudyConfig
    forecast: Forecast | None
    is_finished: bool
    ships_calibration: bool
    calibrates: bool
    ahead: int


class Workbench:
    """Everything behind the page, without the page.

    Args:
        settings: Limits and places.
        ear: Finds the embedder, or says why there is none; called once, when first needed.
    """

    def __init__(self, settings: Settings, *, ear: Callable[[], Ear | str] = find_ear) -> None:
        self.settings = settings
        self.shelf = AdmShelf(settings.local_adms)
        self._jobs = JobRegistry(max_queued=settings.max_queued, keep_finished_s=_KEEP_FINISHED_S)
        self._tickets: dict[str, Ticket] = {}
        self._find_ear = ear
        self._ear: Ear | str | None = None
        self._ear_lock = threading.Lock()
        self._map: tuple[str, PromptMap] | None = None
        self._map_lock = threading.Lock()
        self._starting = threading.Lock()
        self.budget = Budgets(self.shelf)
        self._pace = Pace()
        for report, plan in recent_studies(self._folders()):
            self._pace.remember(report, plan)

    def close(self) -> None:
        """Stop what runs."""
        self._jobs.close()

    def adms(self) -> tuple[AdmCard, ...]:
        """Every model there is."""
        return self.shelf.cards()

    def layers(self, adm_id: str) -> Sequence[LayerInfo]:
        """What can be quantized in a model.

        Raises:
            ModelError: There is no such model, or its files are damaged.
        """
        return self.shelf.layers(adm_id)

    def longest_s(self, adm_id: str) -> float:
        """The longest clip that a visitor may ask of a model, in seconds.

        Raises:
            ModelError: There is no such model, or its files are damaged.
        """
        return min(self.shelf.load(adm_id).spec.max_seconds, self.settings.max_seconds)

    def draft(self, adm_id: str, rules: str) -> Draft:
        """Rules met with the layers of a model: a plan, or what is wrong."""
        return draft_plan(rules, self.layers(adm_id))

    def prompt_map(self, adm_id: str) -> PromptMap:
        """Where prompts lie in a model's text space; only the last model's map is kept.

        Raises:
            PTQError: There is no such model, or its files are damaged.
        """
        adm = self.shelf.load(adm_id)
        with self._map_lock:
            if self._map is None or self._map[0] != adm.source_hash:
                self._map = (adm.source_hash, PromptMap(lambda: self.shelf.load(adm_id)))
            return self._map[1]

    def estimate(self, request: StudyRequest) -> Estimate:
        """Check a request against every limit, and say how long it will take.

        Raises:
            PTQError: The request cannot be followed.
        """
        config = self._checked(request)
        adm = self.shelf.load(config.adm)
        run = run_folder_of(config, adm, self.settings.runs).path
        sampling = SamplingSettings(
            steps=config.steps, guidance=config.guidance, seconds=config.seconds
        )
        plan = resolve_plan(config.quant, self.layers(config.adm))
        shipped = shipped_calibration(adm, sampling, config.calibration, plan)
        needed = needs_calibration(plan)
        calibrates = needed and shipped is None
        return Estimate(
            config=config,
            forecast=self._pace.forecast(config, plan, calibrates=calibrates),
            is_finished=(run / REPORT_NAME).exists(),
            ships_calibration=needed and shipped is not None,
            calibrates=calibrates,
            ahead=self._jobs.unfinished(),
        )

    def start(self, token: str, request: StudyRequest) -> str:
        """Queue a study and return its job's id.

        Raises:
            PTQError: The request cannot be followed, the visitor has a study on its way already,
                or too many visitors wait.
        """
        config = self._checked(request)
        run = run_folder_of(config, self.shelf.load(config.adm), self.settings.runs).path
        with self._starting:  # of two clicks at once, one starts; nobody sees a job without ticket
            self._drop_tickets()
            if any(not job.state.has_ended for job in self.jobs(token)):
                raise ConfigError("Your last run is still on its way; stop it or wait for it.")
            job = limited(self._study(config, run), self.settings.max_minutes)
            job_id = self._jobs.submit(token, job, label=_label(config))
            self._tickets[job_id] = Ticket(config=config, run=run)
        return job_id

    def stop(self, token: str) -> None:
        """Ask the visitor's unfinished study to stop, if there is one."""
        for job in self.jobs(token):
            if not job.state.has_ended:
                self._jobs.stop(token, job.id)

    def jobs(self, token: str) -> tuple[JobSnapshot, ...]:
        """The visitor's studies, newest first."""
        return self._jobs.jobs_of(token)

    def wait(self, token: str, job_id: str, *, timeout_s: float) -> JobSnapshot:
        """Block until a study has ended.

        Raises:
            UnknownJobError: It is not this visitor's.
        """
        return self._jobs.wait(token, job_id, timeout_s=timeout_s)

    def ticket(self, token: str, job_id: str) -> Ticket:
        """What a job computes.

        Raises:
            UnknownJobError: It is not this visitor's.
        """
        with self._starting:  # nobody drops it in between
            self._jobs.get(token, job_id)
            return self._tickets[job_id]

    def runs(self, token: str) -> tuple[FinishedRun, ...]:
        """The visitor's finished studies, newest first, then the example that everyone sees."""
        ids = [job.id for job in self.jobs(token) if job.state is JobState.DONE]
        ids += [EXAMPLE_ID] if self.settings.featured_run is not None else []
        found = []
        for run_id in ids:
            try:
                found.append(self.run(token, run_id))
            except CheckpointError as error:  # deleted or damaged meanwhile; the others can be seen
                _LOG.warning("%s", error)
        return tuple(found)

    def run(self, token: str, run_id: str) -> FinishedRun:
        """One finished study of the visitor, or the example.

        Raises:
            UnknownJobError: It is not this visitor's.
            CheckpointError: Its report is damaged.
        """
        featured = self.settings.featured_run
        if run_id == EXAMPLE_ID and featured is not None:
            return FinishedRun.read(featured, run_id=EXAMPLE_ID, is_example=True)
        return FinishedRun.read(self.ticket(token, run_id).run, run_id=run_id)

    def archive(self, run: FinishedRun) -> Path:
        """A zip of everything in a run but intermediate latents."""
        path = run.path.resolve()  # the example may be a link, which can point elsewhere tomorrow
        return write_archive(path, self.settings.runs / _DOWNLOADS / f"{path.name}.zip")

    def _checked(self, request: StudyRequest) -> StudyConfig:
        config = request.to_config(self.settings)
        draft = self.draft(config.adm, request.rules)
        if draft.problems:
            raise ConfigError(str(draft.problems[0]))
        return config

    def _study(self, config: StudyConfig, run: Path) -> JobFunction:
        def job(on_event: OnEvent, should_stop: ShouldStop) -> Report:
            self._tidy(run)
            torch.set_num_threads(self.settings.threads)
            report = run_study(
                config,
                self.shelf.load(config.adm),
                runs=self.settings.runs,
                ear=self._the_ear(),
                on_event=on_event,
                should_stop=should_stop,
            )
            plan = resolve_plan(config.quant, self.layers(config.adm))
            self._pace.remember(report, plan)
            return report

        return job

    def _tidy(self, run: Path) -> None:
        """Delete old runs, but none on its way; those that a visitor of the last day has go last.

        A visitor whose run had to make room sees it no more, which is better than a full disk.
        """
        with self._starting:
            self._drop_tickets()
            tickets = dict(self._tickets)
        limits, featured = self.settings, self.settings.featured_run
        ended = self._jobs.ended(tuple(tickets))
        spared = [run, *(ticket.run for job_id, ticket in tickets.items() if job_id not in ended)]
        spared += [featured] if featured is not None else []
        cherished = [tickets[job_id].run for job_id in ended]
        room = {"keep": limits.keep_runs, "keep_gb": limits.keep_gb}
        prune_runs(limits.runs, **room, spared=spared, cherished=cherished)

    def _drop_tickets(self) -> None:
        for job_id in self._jobs.missing(tuple(self._tickets)):
            del self._tickets[job_id]

    def _the_ear(self) -> Ear | str:
        with self._ear_lock:
            if self._ear is None:
                self._ear = self._find_ear()
            return self._ear

    def _folders(self) -> list[Path]:
        """Of studies of this machine; the example may come from another."""
        runs = self.settings.runs
        return [path for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []


def _label(config: StudyConfig) -> str:
    prompts = "1 prompt" if len(config.prompts) == 1 else f"{len(config.prompts)} prompts"
    return f"{config.quant.name} · {config.adm} · {prompts}"
