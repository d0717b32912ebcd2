"""What the Run tab does: start, watch, stop, and find the run again after a reload."""

from typing import Any

import gradio as gr

from app.components.notice import NoticeValue, Tone
from app.handlers.explain import explained
from app.job import JobSnapshot, JobState
from app.job_progress import in_words
from app.jobs import new_token
from app.messages import message_of
from app.present import job_bar, pair_player
from app.run_tables import runs_table
from app.study_request import StudyRequest
from app.workbench import Estimate, Workbench
from ptq.errors import PTQError

# Bar, live prompts, player, timer, start button, finished run, runs table.
Watched = tuple[Any, ...]


class RunHandlers:
    """Answers the events of a run.

    Args:
        workbench: What the page works on.
    """

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench

    def estimate(self, *inputs: Any) -> NoticeValue:  # noqa: ANN401 - components' values
        """Say what will run and how long it takes, or what has to be corrected first."""
        try:
            found = self.workbench.estimate(_request(inputs))
        except PTQError as error:
            return {"tone": Tone.ERROR, "title": "Not ready to run", "lines": [message_of(error)]}
        config, n = found.config, len(found.config.prompts)
        what = f"{n} {'pair' if n == 1 else 'pairs'} with {config.quant.name} on {config.adm}"
        title = f"{what}: {_how_long(found)}"
        lines = [_WHAT_RUNS.format(n=n)]
        if found.ships_calibration:
            lines.append(_SHIPPED)
        elif found.calibrates:
            lines.append(_MEASURED)
        return {"tone": Tone.INFO, "title": title, "lines": lines}

    @explained
    def start(self, token: str | None, *inputs: Any) -> Watched:  # noqa: ANN401 - components' values
        """Queue a study."""
        token = token or new_token()
        self.workbench.start(token, _request(inputs))
        return token, {}, *self.watch(token, None)

    @explained
    def attach(self, token: str | None) -> Watched:
        """Find the visitor's runs after a reload; a new visitor gets a token."""
        token = token or new_token()
        return token, *self.watch(token, None)

    @explained
    def watch(self, token: str, shown: int | None) -> Watched:
        """Show where the visitor's newest run stands, and the clip ``shown`` or the first."""
        jobs = self.workbench.jobs(token)
        job = jobs[0] if jobs else None
        live = self._live(token, job, shown)
        going = job is not None and not job.state.has_ended
        lists = (gr.skip(), gr.skip()) if going else self._ended(token, job)
        button = gr.Button(interactive=not going)
        return job_bar(job), *live, gr.Timer(active=going), button, *lists

    @explained
    def stop(self, token: str) -> None:
        """Ask the visitor's run to stop."""
        self.workbench.stop(token)

    @explained
    def choose_live(self, token: str, shown: int | None) -> Any:  # noqa: ANN401 - an update
        """Put another finished clip into the player."""
        jobs = self.workbench.jobs(token)
        return self._live(token, jobs[0] if jobs else None, shown)[1]

    def _live(self, token: str, job: JobSnapshot | None, shown: int | None) -> tuple[Any, Any]:
        if job is None:
            return gr.Dropdown(visible=False), gr.skip()
        ticket = self.workbench.ticket(token, job.id)
        clips, prompts = ticket.clips_so_far(), ticket.config.prompts
        if not clips:
            return gr.Dropdown(visible=False), None
        choices = [(prompts[index], index) for index in range(len(clips))]
        # A choice that the visitor has made meanwhile is not to be overwritten by an older one.
        update: dict[str, Any] = {"choices": choices, "visible": len(clips) > 1}
        if shown is None or shown not in range(len(clips)):
            shown = update["value"] = 0
        full, quantized = clips[shown]
        label = ticket.config.quant.name
        value = pair_player(full, quantized, label=label, caption=prompts[shown])
        return gr.Dropdown(**update), value

    def _ended(self, token: str, job: JobSnapshot | None) -> tuple[Any, Any]:
        finished = job.id if job is not None and job.state is JobState.DONE else gr.skip()
        return finished, runs_table(self.workbench.jobs(token), self.workbench.runs(token))


_WHAT_RUNS = (
    "It generates {n} full-precision and {n} quantized clips from the same noise, and {n} more "
    "with another seed: they show how much two equally good clips differ."
)
_SHIPPED = "Its activation ranges ship with the model: nothing has to be calibrated."
_MEASURED = (
    "Its calibration prompts are generated first, since no calibration ships for these settings. "
    "Fewer of them take less time, and ranges fit less well."
)


def _how_long(found: Estimate) -> str:
    runs = "1 run" if found.ahead == 1 else f"{found.ahead} runs"
    if found.is_finished:
        return f"finished before, opens {f'after {runs} ahead' if found.ahead else 'at once'}"
    forecast, ahead = found.forecast, f", after {runs} ahead" if found.ahead else ""
    if forecast is None:
        return f"no run of this model has finished here yet, so its time is unknown{ahead}"
    where = "" if forecast.is_from_here else " on two idle cores"
    long = forecast.leaves_out
    more = "" if long is None else f", and minutes more for rounding by {long.value}"
    return f"about {in_words(forecast.seconds)}{where}{more}{ahead}"


def _request(inputs: tuple[Any, ...]) -> StudyRequest:
    adm, prompts, rules, preset, seed, steps, guidance, seconds, *calibration = inputs
    calibration_prompts, strategy, states, covering = calibration
    return StudyRequest(
        adm=adm,
        prompts=prompts,
        rules=rules,
        preset=preset,
        seed=seed,
        steps=steps,
        guidance=guidance,
        seconds=seconds,
        calibration_prompts=calibration_prompts,
        strategy=strategy,
        calibration_states=states,
        covering=covering,
    )
