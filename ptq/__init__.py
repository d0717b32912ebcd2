"""Post-training quantization for audio diffusion models.

These names need no torch; what acts on models is imported from its own module, for example
``from ptq.study import run_study``.
"""

from ptq.config import QuantConfig, QuantRule, format_rules, parse_rules
from ptq.errors import (
    CalibrationError,
    Cancelled,
    CheckpointError,
    ConfigError,
    LayerError,
    MetricError,
    ModelError,
    PTQError,
    RunBusyError,
    UnknownKeyError,
    UnusedRuleError,
)
from ptq.plan import LayerInfo, LayerKind, LayerSpec, QuantPlan, resolve_plan
from ptq.presets import PRESETS, preset
from ptq.report import Report
from ptq.results import Score
from ptq.scheme import (
    ActivationMode,
    ActivationScheme,
    Granularity,
    LayerScheme,
    RangeSearch,
    WeightScheme,
)

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "ActivationMode",
    "ActivationScheme",
    "CalibrationError",
    "Cancelled",
    "CheckpointError",
    "ConfigError",
    "Granularity",
    "LayerError",
    "LayerInfo",
    "LayerKind",
    "LayerScheme",
    "LayerSpec",
    "MetricError",
    "ModelError",
    "PTQError",
    "QuantConfig",
    "QuantPlan",
    "QuantRule",
    "RangeSearch",
    "Report",
    "RunBusyError",
    "Score",
    "UnknownKeyError",
    "UnusedRuleError",
    "WeightScheme",
    "format_rules",
    "parse_rules",
    "preset",
    "resolve_plan",
]
