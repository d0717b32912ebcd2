"""What the Results tab does."""

from typing import Any

import gradio as gr

from app.activations import activations_of, most_telling, site_names
from app.budget import own_rules
from app.diagnosis import diagnosis
from app.figures.coverage import prompt_map, range_coverage
from app.figures.distance import distances
from app.figures.front import front
from app.figures.histogram import histogram
from app.figures.sizes import sizes
from app.figures.spectrograms import spectrograms
from app.figures.steps import step_errors
from app.figures.style import empty_figure
from app.finished_run import FinishedRun
from app.handlers.explain import explained, warn
from app.present import pair_player
from app.rules import set_aside
from app.run_tables import paired_table, runs_table, summary_table, verdict_notice
from app.shipped_scores import read_scores
from app.study_request import DEFAULT_PRESET
from app.workbench import Workbench
from ptq.errors import PTQError

_SHOWN = 15  # what of the tab shows a run
_NO_MODEL = "The model of this run is not here any more."
_NO_STATISTICS = "No calibration was needed: activations stay in float or are ranged on the fly."


class ResultsHandlers:
    """Answers the events of the results.

    Args:
        workbench: What the page works on.
    """

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench

    @explained
    def open_tab(self, token: str, run_id: str | None) -> tuple[Any, ...]:
        """Show the chosen run, or the shipped scores where there is none."""
        chosen, lists = self._lists(token, run_id)
        return *lists, *self._shown(token, chosen)

    @explained
    def return_to_tab(self, token: str, run_id: str | None) -> tuple[Any, ...]:
        """As ``open_tab``, but of a run that is shown already, its pair and layer stay."""
        chosen, lists = self._lists(token, run_id)
        if run_id is None or chosen != run_id:
            return *lists, *self._shown(token, chosen)
        return *lists, *[gr.skip()] * _SHOWN

    @explained
    def show_run(self, token: str, run_id: str | None) -> tuple[Any, ...]:
        """Everything about one run."""
        return self._show(token, run_id)

    def _shown(self, token: str, run_id: str | None) -> tuple[Any, ...]:
        """Everything about a run, or nothing if it is damaged: others can be chosen."""
        try:
            return self._show(token, run_id)
        except PTQError as error:
            warn(error)
            return self._show(token, None)

    def _show(self, token: str, run_id: str | None) -> tuple[Any, ...]:
        if run_id is None:
            hidden = [gr.skip()] * (_SHOWN - 2)
            return gr.Column(visible=False), distances(self._scores(None), None), *hidden
        run = self.workbench.run(token, run_id)
        pairs = [(pair.prompt, index) for index, pair in enumerate(run.report.pairs)]
        return (
            gr.Column(visible=True),
            distances(self._scores(run), run.report),
            verdict_notice(run),
            diagnosis(run),
            summary_table(run),
            gr.Dropdown(choices=pairs, value=0),
            *self._pair(run, 0),
            paired_table(run),
            sizes(run.report.size, run.report.plan.name),
            *self._sites(run),
            gr.DownloadButton(value=None, visible="hidden"),
        )

    @explained
    def show_pair(self, token: str, run_id: str, index: int) -> tuple[Any, ...]:
        """The player and the pictures of one pair."""
        return self._pair(self.workbench.run(token, run_id), index)

    @explained
    def show_site(self, token: str, run_id: str, site: str, bucket: float) -> Any:  # noqa: ANN401 - a figure
        """The activations of one layer in one timestep bucket."""
        run = self.workbench.run(token, run_id)
        found = activations_of(run.stats(), run.plan(), site=site, bucket=int(bucket) - 1)
        return histogram(found)

    @explained
    def download(self, token: str, run_id: str) -> Any:  # noqa: ANN401 - an update
        """Pack everything of a run into one file."""
        run = self.workbench.run(token, run_id)
        return gr.DownloadButton(value=str(self.workbench.archive(run)), visible="hidden")

    @explained
    def show_coverage(self, token: str, run_id: str | None) -> tuple[Any, Any]:
        """The prompts of a run on the map of its model, and what calibration saw of the ranges."""
        if run_id is None:
            return gr.skip(), gr.skip()
        run = self.workbench.run(token, run_id)
        found = run.calibration()
        ranges = range_coverage(
            {} if found is None else found.site_coverage,
            {} if found is None else found.random_site_coverage,
        )
        try:
            placed = self.workbench.prompt_map(run.report.adm.id)
        except PTQError:  # the host took the model away; its runs can still be seen
            return empty_figure(_NO_MODEL, title="Prompts"), ranges
        own = placed.of([pair.prompt for pair in run.report.pairs])
        calibration = placed.of(() if found is None else found.prompts)
        return prompt_map(placed.usual, calibration, own), ranges

    @explained
    def show_front(self, adm: str | None, point: int | None) -> tuple[Any, ...]:
        """The best plan of each size; hidden where no sensitivities ship for the model."""
        budget = None if adm is None else self.workbench.budget(adm)
        if budget is None:
            return gr.Column(visible=False), gr.skip(), gr.skip()
        points = budget.front()
        chosen = point if point in range(len(points)) else len(points) // 2
        names = [f"{p.megabytes:.2f} MB, {p.bits:.2f} bits a denoiser weight" for p in points]
        choices = gr.Dropdown(
            choices=[(name, index) for index, name in enumerate(names)], value=chosen
        )
        return gr.Column(visible=True), front(points, chosen), choices

    @explained
    def open_point(self, adm: str, rules: str, point: int | None) -> tuple[Any, Any]:
        """The rules of a point of the front, and the preset that they rest on.

        A visitor's own rules are kept below them as comments.
        """
        budget = self.workbench.budget(adm)
        points = () if budget is None else budget.front()
        if budget is None or point is None or not 0 <= point < len(points):
            return gr.skip(), gr.skip()
        # Sizes of points are those of their plans: the plan of that size is the point's own.
        planned = budget.rules(points[point].megabytes)
        return planned + set_aside(own_rules(rules)), DEFAULT_PRESET

    def _lists(self, token: str, run_id: str | None) -> tuple[str | None, tuple[Any, Any]]:
        """The run to show, which is the newest where the chosen one is gone, and both lists."""
        runs = self.workbench.runs(token)
        known = [run.id for run in runs]
        chosen = run_id if run_id in known else next(iter(known), None)
        choices = gr.Dropdown(choices=[(run.title, run.id) for run in runs], value=chosen)
        return chosen, (choices, runs_table(self.workbench.jobs(token), runs))

    def _pair(self, run: FinishedRun, index: int) -> tuple[Any, Any, Any]:
        pair, label = run.pair(index), run.report.plan.name
        files = run.path / pair.reference, run.path / pair.quantized
        player = pair_player(*files, label=label, caption=f"{pair.prompt}  ·  seed {pair.seed}")
        picture = spectrograms(*run.clips(index), label)
        return player, picture, step_errors(run.report.pairs, index)

    def _sites(self, run: FinishedRun) -> tuple[Any, Any, Any]:
        stats = run.stats()
        if not stats:
            hidden = gr.Dropdown(visible=False), gr.Slider(visible=False)
            return *hidden, empty_figure(_NO_STATISTICS, title="Activations")
        site = most_telling(stats, run.plan())
        buckets = next(iter(stats.values())).buckets
        return (
            gr.Dropdown(choices=list(site_names(stats)), value=site, visible=True),
            gr.Slider(value=1, maximum=buckets, visible=buckets > 1),
            histogram(activations_of(stats, run.plan(), site=site, bucket=0)),
        )

    def _scores(self, run: FinishedRun | None) -> Any:  # noqa: ANN401 - scores or nothing
        adms = [run.report.adm.id] if run else [card.id for card in self.workbench.adms()]
        found = next(filter(None, map(read_scores, adms)), None)
        if found is None:
            return None
        model = run.report.adm.source if run else self.workbench.shelf.source_hash(found.adm)
        return found if found.model == model else None
