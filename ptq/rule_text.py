r"""The rules of a configuration as text, one rule a line, for people who edit them.

::

    # comments and blank lines are skipped
    denoiser.*conv_in  = keep
    denoiser.*attn*    = w4a8
    denoiser.*.ff.*    = w4 g64 mse a8 dynamic
    vae.*              = w8 optional
    *                  = keep

    line    ::=  glob "=" words ["optional"]
    words   ::=  "keep"  |  one or more of the words below, in any order
    w2 … w8, w16     weight bits; w16 keeps the weight
    a4 … a8, a16     activation bits; a16 keeps the activation
    w4a8             both at once
    tensor channel group g16 … g128    what shares a weight scale; "group" picks the size itself
    sym asym         weights without or with a zero point
    nearest          weights are rounded by themselves
    gptq adaround    weights are rounded by what their layer is given, if anything
    brecq            gptq first, then weights of a block together by what the block puts out
    smooth           input channels are evened out against the weight's columns first
    smooth-time      likewise, heeding when each channel is loud
    r32              the largest 32 singular values stay in floating point, beside the codes
    debias           the bias makes up for the mean error
    minmax mse       range search, of the ``w`` or ``a`` before it; after ``w4a8``, of the weight
    hqq              weight range for which errors are few rather than small
    p99.9            activation range from percentiles
    static dynamic   where an activation range comes from
    t10              one static range for each of 10 equal parts of the trajectory
    unsigned         activations are probabilities: zero point 0
    optional         no error when nothing matches the glob

Without further words, up to 5 weight bits mean asymmetric groups, 6 to 8 symmetric channels; both
take their range from minimum and maximum. Globs are those of ``fnmatch`` over ``part.layer.name``;
``{last}`` stands for the highest number found in its place.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ptq.errors import ConfigError
from ptq.scheme import (
    FLOAT_BITS,
    ActivationMode,
    ActivationScheme,
    Balance,
    Granularity,
    LayerScheme,
    RangeSearch,
    Rounding,
    WeightScheme,
)
from ptq.spelling import nearest

_Settings = dict[str, Any]
_WEIGHT_WORDS: dict[str, _Settings] = {
    "tensor": {"granularity": Granularity.PER_TENSOR, "group_size": None},
    "channel": {"granularity": Granularity.PER_CHANNEL, "group_size": None},
    "group": {"granularity": Granularity.PER_GROUP, "group_size": None},
    "sym": {"symmetric": True},
    "asym": {"symmetric": False},
    "hqq": {"range_search": RangeSearch.HQQ},
    **{rounding.value: {"rounding": rounding} for rounding in Rounding},
    "smooth": {"balance": Balance.SMOOTH},
    "smooth-time": {"balance": Balance.SMOOTH_TIME},
    "debias": {"debias": True},
}
_ACTIVATION_WORDS: dict[str, _Settings] = {
    "static": {"mode": ActivationMode.STATIC},
    "dynamic": {"mode": ActivationMode.DYNAMIC},
    "unsigned": {"unsigned": True},
}
_RANGE_WORDS: dict[str, _Settings] = {
    "minmax": {"range_search": RangeSearch.MIN_MAX},
    "mse": {"range_search": RangeSearch.MSE},
}
_BITS = re.compile(r"(?:w(?P<w>\d{1,4}))?(?:a(?P<a>\d{1,4}))?")
_NUMBERED: tuple[tuple[re.Pattern[str], str, Callable[[str], _Settings]], ...] = (
    (
        re.compile(r"g(\d{1,6})"),
        "w",
        lambda n: {"granularity": Granularity.PER_GROUP, "group_size": int(n)},
    ),
    (re.compile(r"r(\d{1,6})"), "w", lambda n: {"rank": int(n)}),
    (re.compile(r"t(\d{1,6})"), "a", lambda n: {"timestep_buckets": int(n)}),
    (
        re.compile(r"p(\d{1,6}(?:\.\d{1,12})?)"),
        "a",
        lambda n: {"range_search": RangeSearch.PERCENTILE, "percentile": float(n)},
    ),
)
_VOCABULARY = (
    *("keep", "optional", "w4", "w8", "w16", "a8", "a16", "w4a8", "w8a8", "g32", "g64", "g128"),
    *("t10", "p99.9", "r32", *_WEIGHT_WORDS, *_ACTIVATION_WORDS, *_RANGE_WORDS),
)


def parse_scheme(words: Iterable[str]) -> LayerScheme:
    """Return the layer scheme that words such as ``["w4", "g64", "a8"]`` describe.

    Raises:
        ConfigError: for an unknown, repeated or contradictory word.
    """
    bits: dict[str, int] = {}
    settings: dict[str, _Settings] = {"w": {}, "a": {}}
    keep, last = False, "w"
    for word in words:
        match = _BITS.fullmatch(word)
        if word == "keep":
            keep = True
        elif match:
            found = {side: int(text) for side, text in match.groupdict().items() if text}
            _merge(bits, found, word)
            last = next(iter(found))
        else:
            side, values = _lookup(word, last)
            _merge(settings[side], values, word)
    if keep == bool(bits) or (keep and (settings["w"] or settings["a"])):
        raise ConfigError("a rule is either 'keep' alone or has bits such as w4, a8 or w4a8.")
    weight = _weight(bits.get("w"), settings["w"])
    activation = _activation(bits.get("a"), settings["a"])
    if weight is not None and activation is not None and activation.unsigned:
        raise ConfigError(
            "'unsigned' speaks of attention probabilities, which have no weights; write one rule"
            f" with a{activation.bits} unsigned, and another with w{weight.bits}."
        )
    return LayerScheme(weight=weight, activation=activation)


def _lookup(word: str, last: str) -> tuple[str, _Settings]:
    for side, table in (("w", _WEIGHT_WORDS), ("a", _ACTIVATION_WORDS), (last, _RANGE_WORDS)):
        if word in table:
            return side, table[word]
    for pattern, side, settings in _NUMBERED:
        match = pattern.fullmatch(word)
        if match:
            return side, settings(match.group(1))
    raise ConfigError(
        f"'{word}' means nothing here; the nearest is '{nearest(word, _VOCABULARY)}'."
    )


def _merge(known: dict[str, Any], new: dict[str, Any], word: str) -> None:
    for key, value in new.items():
        if key in known:
            raise ConfigError(f"'{word}' sets {key} a second time; keep one of the two words.")
        known[key] = value


def _weight(bits: int | None, settings: _Settings) -> WeightScheme | None:
    if bits is None or bits == FLOAT_BITS:
        if settings:
            raise ConfigError(f"{', '.join(settings)} needs weight bits; add w2 to w8.")
        return None
    return replace(WeightScheme.default(bits), **settings)


def _activation(bits: int | None, settings: _Settings) -> ActivationScheme | None:
    if bits is None or bits == FLOAT_BITS:
        if settings:
            raise ConfigError(f"{', '.join(settings)} needs activation bits; add a4 to a8.")
        return None
    return ActivationScheme(bits=bits, **settings)


def format_scheme(scheme: LayerScheme) -> str:
    """Return the shortest words that ``parse_scheme`` reads back as ``scheme``."""
    weight = _weight_words(scheme.weight) if scheme.weight else []
    activation = _activation_words(scheme.activation) if scheme.activation else []
    if len(weight) == 1 and activation and not set(activation) & set(_RANGE_WORDS):
        return " ".join([weight[0] + activation[0], *activation[1:]])
    return " ".join([*weight, *activation]) or "keep"


def _weight_words(scheme: WeightScheme) -> list[str]:
    default = WeightScheme.default(scheme.bits)
    words = [f"w{scheme.bits}"]
    if scheme.group_size is not None:
        words.append(f"g{scheme.group_size}")
    elif scheme.granularity is not default.granularity:
        words.append(scheme.granularity.removeprefix("per_"))
    if scheme.symmetric is not default.symmetric:
        words.append("sym" if scheme.symmetric else "asym")
    words += [
        chosen.value
        for chosen in (scheme.range_search, scheme.rounding, scheme.balance)
        if chosen not in {RangeSearch.MIN_MAX, Rounding.NEAREST, Balance.NONE}
    ]
    words += [f"r{scheme.rank}"] * (scheme.rank > 0) + ["debias"] * scheme.debias
    return words


def _activation_words(scheme: ActivationScheme) -> list[str]:
    words = [f"a{scheme.bits}"]
    if scheme.range_search is RangeSearch.MSE:
        words.append("mse")
    if scheme.range_search is RangeSearch.PERCENTILE:
        words.append(f"p{scheme.percentile}")
    if scheme.mode is ActivationMode.DYNAMIC:
        words.append("dynamic")
    if scheme.timestep_buckets > 1:
        words.append(f"t{scheme.timestep_buckets}")
    if scheme.unsigned:
        words.append("unsigned")
    return words
