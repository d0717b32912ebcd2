"""A resumable training loop: steps, warm-up and cool-down, averaged weights, time left."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from assets.recipe.optimizers import MatrixOptimizer
from assets.recipe.parallel import average_gradients, rank, world_size

Trained = TypeVar("Trained", bound=nn.Module)

_WARMUP_STEPS = 200
_COOLDOWN_SHARE = 0.2
_SAVE_EVERY_S = 60.0
_LOG_EVERY_S = 15.0


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What a stage needs besides its data and loss."""

    name: str
    folder: Path
    steps: int
    learning_rate: float
    ema_decay: float = 0.999
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    muon: bool = False
    elementwise: tuple[str, ...] = ()


def _optimizer(
    module: nn.Module, settings: TrainingSettings
) -> torch.optim.Optimizer | MatrixOptimizer:
    rates: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "weight_decay": settings.weight_decay,
    }
    if settings.muon:
        return MatrixOptimizer(module, elementwise=settings.elementwise, **rates)
    return torch.optim.AdamW(module.parameters(), **rates)


class Training(Generic[Trained]):
    """Trains one module; checkpoints every minute; resumes where it stopped."""

    def __init__(self, module: Trained, settings: TrainingSettings) -> None:
        # Silent clips drive activations into denormals, which made a step 20 times slower.
        torch.set_flush_denormal(True)
        self.module = module
        self.settings = settings
        self.id = secrets.token_hex(4)
        self.step = 0
        self.seconds = 0.0
        self.averaged = {key: value.clone() for key, value in module.state_dict().items()}
        self.optimizer = _optimizer(module, settings)
        if self._path.exists():
            self._resume()

    @property
    def _path(self) -> Path:
        return self.settings.folder / f"{self.settings.name}.pt"

    def _resume(self) -> None:
        state = torch.load(self._path, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged = state["averaged"]
        self.step, self.seconds = state["step"], state["seconds"]
        self.id = state.get("run", self.id)
        print(f"{self.settings.name}: resumed at step {self.step}", flush=True)

    def save(self) -> None:
        """Write the state; a kill in the middle leaves the previous state."""
        if rank() > 0:
            return
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "step": self.step,
            "seconds": self.seconds,
            "run": self.id,
        }
        partial = self._path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._path)

    def _rate(self) -> float:
        s = self.settings
        warm = min(1.0, (self.step + 1) / _WARMUP_STEPS)
        cool = (s.steps - self.step) / (s.steps * _COOLDOWN_SHARE)
        return s.learning_rate * warm * max(0.01, min(1.0, cool))

    @torch.no_grad()
    def _average(self) -> None:
        # The ramp forgets the random start quickly.
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        for key, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.averaged[key].lerp_(value, 1 - decay)
            else:
                self.averaged[key].copy_(value)

    def _update(self, loss: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        average_gradients(self.module)
        nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self._average()

    def run(self, loss_at: Callable[[int], Tensor]) -> Trained:
        """Train to the end and return the module with averaged weights, in eval mode.

        Args:
            loss_at: Loss of the batch of one step; deterministic in the step, so that a
                resumed training sees the same batches as an uninterrupted one.
        """
        start = saved = logged = time.monotonic()
        base, first, recent = self.seconds, self.step, []
        self.module.train()
        while self.step < self.settings.steps:
            loss = loss_at(self.step)
            self._update(loss)
            self.step += 1
            recent.append(loss.detach())
            now = time.monotonic()
            self.seconds = base + (now - start) * world_size()
            if now - logged > _LOG_EVERY_S:
                self._log(float(torch.stack(recent).mean()), (now - start) / (self.step - first))
                logged, recent = now, []
            if now - saved > _SAVE_EVERY_S:
                self.save()
                saved = now
        self.save()
        self.module.load_state_dict(self.averaged)
        self.module.eval()
        return self.module

    def _log(self, loss: float, seconds_per_step: float) -> None:
        if rank() > 0:
            return
        left = (self.settings.steps - self.step) * seconds_per_step
        print(
            f"{self.settings.name}: step {self.step}/{self.settings.steps} · loss {loss:.4f}"
            f" · {seconds_per_step:.2f} s a step · {left / 60:.0f} min left",
            flush=True,
        )
