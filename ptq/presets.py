"""Named configurations: the uniform baselines, and the selective one that gives this work its name.

Uniform presets give every layer of the denoiser the same bits, its sensitive ends included: they
are the naive baseline. ``ptq4adm`` is selective, as PTQ4ADM is (Vora et al., arXiv 2409.13894, by
its abstract: 4-bit weights and 8-bit activations where layers bear them). The rest is ours: GPTQ,
8 bits for the layers that feed everything, floating point for the first and last convolution and
the time and class embeddings. Which layers bear four bits, it knows by their names and by how much
their own outputs suffer in the embedded model, where attention and the second layer of a
feed-forward block mind most. What the whole prediction minds, which an allocation goes by, is other
layers: see ``ptq.sensitivity``. All store the text encoder, the VAE and the vocoder with 8-bit
weights per channel, except ``fp``. Every rule is optional: no architecture has all the layers named
here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ptq.config import QuantConfig, parse_rules
from ptq.errors import ConfigError
from ptq.spelling import nearest

_OTHER_PARTS = """
text_encoder*.* = w8 optional
vae.*           = w8 optional
vocoder.*       = w8 optional
*               = keep optional
"""

_PTQ4ADM = (
    """
# what the trajectory hangs on
denoiser.*conv_in            = keep optional
denoiser.*conv_out           = keep optional
denoiser.*time_embedding.*   = keep optional
denoiser.*class_embedding*   = keep optional
denoiser.*time_proj*         = keep optional
denoiser.*timestep_proj*     = keep optional
denoiser.*timestep_embedder* = keep optional
denoiser.*text_embedder*     = keep optional
denoiser.*guidance_embedder* = keep optional
denoiser.*global_proj*       = keep optional
# what feeds everything, and what minds four bits and weighs little
denoiser.down_blocks.0.resnets.0.*         = w8 mse a8 optional
denoiser.up_blocks.{last}.resnets.{last}.* = w8 mse a8 optional
denoiser.*conv_shortcut                    = w8 mse a8 optional
denoiser.*downsamplers.*                   = w8 mse a8 optional
denoiser.*ff.net.2                         = w8 mse a8 optional
denoiser.*attn*                            = w8 mse a8 optional
denoiser.*attentions.*proj_in              = w8 mse a8 optional
denoiser.*attentions.*proj_out             = w8 mse a8 optional
# the rest bears four bits, rounded so that what a layer puts out stays
denoiser.*                                 = w4 asym group mse gptq a8 optional
"""
    + _OTHER_PARTS
)


def _uniform(bits: str) -> str:
    return f"denoiser.* = {bits} optional\n{_OTHER_PARTS}"


_TEXTS = {
    "fp": "* = keep optional",
    **{name: _uniform(name) for name in ("w8a16", "w8a8", "w6a8", "w4a16", "w4a8", "w3a8")},
    "ptq4adm": _PTQ4ADM,
}

PRESETS: Mapping[str, QuantConfig] = MappingProxyType(
    {name: QuantConfig(name=name, rules=parse_rules(text)) for name, text in _TEXTS.items()}
)


def preset(name: str) -> QuantConfig:
    """Return the preset called ``name``.

    Raises:
        ConfigError: naming the nearest preset.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"there is no preset '{name}'; the nearest is '{nearest(name, PRESETS)}'."
        )
    return PRESETS[name]
