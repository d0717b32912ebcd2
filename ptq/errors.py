"""Every error this library raises on purpose.

::

    PTQError
    ├── ConfigError            a plan, rule, preset or setting that cannot be followed
    │   ├── UnknownKeyError    a key that no schema version knows
    │   └── UnusedRuleError    a rule whose pattern matches no layer
    ├── LayerError             a layer that cannot be quantized as asked
    ├── CalibrationError       statistics that are missing or do not fit the model
    ├── CheckpointError        a file that is missing, damaged or unsafe
    ├── ModelError             an ADM that cannot be found or loaded
    ├── MetricError            a value that cannot be computed from these clips
    ├── RunBusyError           a run that another process is at work on
    └── Cancelled              the caller asked to stop; what is finished is kept

A message states what was wrong, the value, and the way out, in one sentence.
"""


class PTQError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(PTQError, ValueError):
    """A plan, rule, preset or setting that cannot be followed."""


class UnknownKeyError(ConfigError):
    """A key that no schema version knows."""


class UnusedRuleError(ConfigError):
    """A rule whose pattern matches no layer."""


class LayerError(PTQError, ValueError):
    """A layer that cannot be quantized as asked."""


class CalibrationError(PTQError, ValueError):
    """Statistics that are missing or do not fit the model."""


class CheckpointError(PTQError, ValueError):
    """A file that is missing, damaged or unsafe."""


class ModelError(PTQError, ValueError):
    """An ADM that cannot be found or loaded."""


class MetricError(PTQError, ValueError):
    """A value that cannot be computed from these clips."""


class RunBusyError(PTQError):
    """A run that another process is at work on."""


class Cancelled(PTQError):  # noqa: N818 - a request, not a failure
    """The caller asked to stop; what is finished is kept."""
