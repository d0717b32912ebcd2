"""The endpoints for programs. Their docstrings are what a client reads."""

import json
from typing import Any

from app.components.ab_player import clip_url
from app.finished_run import FinishedRun
from app.handlers.explain import explained
from app.job import JobState
from app.jobs import new_token
from app.study_request import DEFAULT_CALIBRATION_PROMPTS, DEFAULT_PRESET, StudyRequest
from app.workbench import Workbench
from ptq.config import format_rules
from ptq.errors import ConfigError
from ptq.presets import preset as find_preset

_LONGEST_S = 3600.0


class ApiHandlers:
    """Answers programs.

    Args:
        workbench: What the page works on.
    """

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench

    @explained
    def list_adms(self) -> list[dict[str, Any]]:
        """List the audio diffusion models of this page.

        Returns:
            One entry a model: id, family, size_bytes, licence, source and state.
        """
        return [
            {
                "id": card.id,
                "family": card.family,
                "size_bytes": card.size_bytes,
                "licence": card.licence,
                "source": card.source,
                "state": card.state.value,
            }
            for card in self.workbench.adms()
        ]

    @explained
    def list_layers(self, adm: str, preset: str = DEFAULT_PRESET) -> dict[str, Any]:
        """List the layers of a model and what a preset does to each.

        Args:
            adm: Id of a model from /list_adms.
            preset: fp, w8a8, w6a8, w4a8, w4a16, w8a16, w3a8 or ptq4adm.

        Returns:
            layers (name, kind, w_bits, a_bits, bytes; 16 bits mean float), and size_bytes of the
            whole plan.
        """
        _check_texts(adm=adm, preset=preset)
        layers = self.workbench.layers(adm)
        plan = self.workbench.draft(adm, format_rules(find_preset(preset).rules)).plan
        if plan is None:
            raise ConfigError(f"The preset {preset!r} does not fit {adm!r}; choose another.")
        return {"layers": plan.rows(layers), "size_bytes": plan.size_bytes(layers)}

    @explained
    def generate_pair(
        self, adm: str, prompt: str, preset: str = DEFAULT_PRESET, seed: int = 0, steps: int = 20
    ) -> dict[str, Any]:
        """Generate one prompt at full precision and quantized, from the same noise.

        Args:
            adm: Id of a model from /list_adms.
            prompt: What to hear.
            preset: How to quantize, see /list_layers.
            seed: Seed of the noise.
            steps: Denoising steps.

        Returns:
            reference and quantized (addresses of 24-bit FLAC files on this server), and paired
            (how far the two are apart).
        """
        text = " ".join(str(prompt).split())  # of several lines, each would be a pair
        run = self._finish(self._request(adm, text, preset, seed=seed, steps=steps))
        pair = json.loads(run.report.to_json())["pairs"][0]
        clips = {key: clip_url(run.path / pair[key]) for key in ("reference", "quantized")}
        return {**clips, "paired": pair["paired"]}

    @explained
    def study(
        self,
        adm: str,
        prompts: list[str],
        preset: str = DEFAULT_PRESET,
        rules: str = "",
        seed: int = 0,
        steps: int = 20,
    ) -> dict[str, Any]:
        """Calibrate, quantize, generate pairs, score them; waits for the end.

        Args:
            adm: Id of a model from /list_adms.
            prompts: What to hear, one clip pair each.
            preset: How to quantize, see /list_layers.
            rules: Ordered rules, one a line; they replace the preset.
            seed: Seed of the noise.
            steps: Denoising steps.

        Returns:
            The report, as report.json documents it.
        """
        if type(prompts) is not list:  # a program may send anything
            raise ConfigError("The prompts are one text; give a list of texts, one each clip pair.")
        lines = [" ".join(str(prompt).split()) for prompt in prompts]
        if "" in lines:  # left out, it would shift the pairs of the others
            raise ConfigError(f"Prompt {lines.index('') + 1} is empty; leave it out of the list.")
        text = "\n".join(lines)
        request = self._request(adm, text, preset, rules=rules, seed=seed, steps=steps)
        report: dict[str, Any] = json.loads(self._finish(request).report.to_json())
        return report

    def _request(
        self, adm: str, prompts: str, preset: str, *, rules: str = "", seed: int, steps: int
    ) -> StudyRequest:
        _check_texts(adm=adm, preset=preset, rules=rules)
        spec = self.workbench.shelf.load(adm).spec
        return StudyRequest(
            adm=adm,
            prompts=prompts,
            rules=rules or format_rules(find_preset(preset).rules),
            preset="" if rules else preset,
            seed=seed,
            steps=steps,
            guidance=spec.default_guidance,
            seconds=min(spec.default_seconds, self.workbench.settings.max_seconds),
            calibration_prompts=DEFAULT_CALIBRATION_PROMPTS,
        )

    def _finish(self, request: StudyRequest) -> FinishedRun:
        token = new_token()
        job_id = self.workbench.start(token, request)
        try:
            job = self.workbench.wait(token, job_id, timeout_s=_LONGEST_S)
        finally:
            self.workbench.stop(token)  # nobody else can: the token ends here
        if job.state is not JobState.DONE:
            raise ConfigError(job.error or "The study did not finish; ask again to go on with it.")
        return self.workbench.run(token, job_id)


def _check_texts(**values: object) -> None:
    """A program may send anything."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise ConfigError(f"{name} is {value!r}; give a text.")
