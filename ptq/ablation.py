"""Group ablation: what quantizing one group of layers does to a whole trajectory.

Errors of single layers, measured at single states, say nothing of how a trajectory carries them
on, nor of layers that make each other worse. Each group, a block's layers of one kind, is
quantized alone, clips are sampled from the same noise, and the final latents compared. Decoded
clips are not: that would take most of a study for every group.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import NoiseTape, Sampler, SamplingSettings, ShouldStop, never_stop
from ptq.affine import relative_error
from ptq.layer_spec import DENOISER, LayerSpec
from ptq.plan import QuantPlan
from ptq.quantize import Prepared, quantize_
from ptq.sensitivities import Sensitivities

_BLOCK = re.compile(rf"{DENOISER}\.((?:down_blocks|up_blocks)\.\d+|mid_block)\.")
_KINDS = {
    "shortcut": "conv_shortcut",
    "time": "time_emb_proj",
    "sampler": "samplers.",
    "attn1": ".attn1.",
    "attn2": ".attn2.",
    "ff": ".ff.",
    "projection": "proj_",
    "conv": "resnets.",
}


def group_of(layer: str) -> str:
    """The block of a layer and what kind of layer it is there; ``ends`` outside of all blocks."""
    block = _BLOCK.match(layer)
    if block is None:
        return "ends"
    kind = next((kind for kind, sign in _KINDS.items() if sign in layer), "other")
    return f"{block.group(1)} {kind}"


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupAblation:
    """Quantizes one group after the other and samples.

    Attributes:
        adm: The full-precision model.
        settings: The deployed sampler's.
        prompts: What is sampled, apart from the prompts of calibration.
        prepared: Statistics and codes for every layer of the plan.
        seed: Of the noise.
        should_stop: Asked before every denoising step.
    """

    adm: AudioDiffusionModel
    settings: SamplingSettings
    prompts: Sequence[str]
    prepared: Prepared
    seed: int = 0
    should_stop: ShouldStop = never_stop

    def __call__(
        self, plan: QuantPlan, on_group: Callable[[int, int], None] = lambda *_: None
    ) -> dict[str, float]:
        """Relative error of the final latents by group.

        Args:
            plan: Of which each group is taken alone.
            on_group: Told how many groups of how many are measured.

        Raises:
            Cancelled: As soon as ``should_stop`` says so.
        """
        groups = sorted({group_of(spec.name) for spec in _denoiser(plan)})
        exact = self._sampled(self.adm)
        found = {}
        for done, group in enumerate(groups, start=1):
            specs = tuple(spec for spec in _denoiser(plan) if group_of(spec.name) == group)
            other = copy.deepcopy(self.adm)
            weights = {
                spec.name: self.prepared.weights[spec.name]
                for spec in specs
                if spec.name in self.prepared.weights
            }
            alone = replace(plan, name=group, layers=specs)
            quantize_(other.parts(), alone, self.prepared.stats, weights=weights)
            found[group] = relative_error(exact, self._sampled(other))
            on_group(done, len(groups))
        return found

    def _sampled(self, adm: AudioDiffusionModel) -> Tensor:
        sampler = Sampler(adm=adm, settings=self.settings, should_stop=self.should_stop)
        ids = range(len(self.prompts))
        return sampler(adm.encode(self.prompts), NoiseTape(self.seed), ids)


def _denoiser(plan: QuantPlan) -> Iterator[LayerSpec]:
    return (spec for spec in plan.quantized if spec.part == DENOISER)


def rescaled(
    table: Sensitivities, words: Mapping[str, str], groups: Mapping[str, float]
) -> Sensitivities:
    """Scale the errors of each group's layers so that they add up to what the group did.

    Args:
        table: Errors of single layers.
        words: The scheme that each layer had in the ablation, by layer.
        groups: Error of each group.
    """
    sums: dict[str, float] = {}
    for name, scheme in words.items():
        if name in table.errors:
            sums[group_of(name)] = sums.get(group_of(name), 0.0) + table.errors[name][scheme]
    known = {group: total for group, total in sums.items() if total > 0 and group in groups}
    factors = {group: groups[group] / total for group, total in known.items()}
    errors = {
        name: {scheme: error * factors.get(group_of(name), 1.0) for scheme, error in row.items()}
        for name, row in table.errors.items()
    }
    return replace(table, measure=f"{table.measure}, scaled by groups", errors=errors)
