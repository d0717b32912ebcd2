"""What codes have to stand for: a weight, evened out and without its low-rank branch."""

from dataclasses import dataclass

from torch import Tensor

from ptq.algorithms.lowrank import low_rank
from ptq.errors import CalibrationError
from ptq.layer_spec import LayerInfo, branch_rank
from ptq.observers import CalibrationStats
from ptq.scheme import Balance, WeightScheme
from ptq.weights import per_channel_columns


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundingTarget:
    """A weight, ready to be rounded.

    Attributes:
        rows: float32 (rows, columns).
        balance: what input channels are divided by (channels,), ``None`` where they are not.
        branch: factors (rows, rank) and (rank, columns) in float16, ``None`` without a branch.
    """

    rows: Tensor
    balance: Tensor | None = None
    branch: tuple[Tensor, Tensor] | None = None

    def effective(self, estimate: Tensor) -> Tensor:
        """The weight that a layer computes with when ``estimate`` stands for these rows."""
        if self.branch is not None:
            estimate = estimate + self.branch[0].float() @ self.branch[1].float()
        if self.balance is not None:
            estimate = estimate / per_channel_columns(self.balance, estimate.shape[1])
        return estimate

    def moment(self, moment: Tensor) -> Tensor:
        """Second moment of the inputs that the codes are multiplied with.

        Args:
            moment: of the layer's own inputs (columns, columns).
        """
        if self.balance is None:
            return moment
        per_column = per_channel_columns(self.balance, moment.shape[0])
        return moment / per_column[:, None] / per_column


def rounding_target(
    rows: Tensor, scheme: WeightScheme, info: LayerInfo, stats: CalibrationStats
) -> RoundingTarget:
    """Even a weight out and take its branch off.

    Args:
        rows: the weight as a matrix (rows, columns).
        scheme: of the layer.
        info: the layer.
        stats: hold what its input channels are divided by.

    Raises:
        CalibrationError: when they do not.
    """
    rows = rows.float()
    balance = None
    if scheme.balance is not Balance.NONE:
        found = stats.get(info.name)
        if found is None or not found.balance.numel():
            raise CalibrationError(
                f"{info.name} was calibrated without balance; calibrate again with this plan."
            )
        balance = found.balance.to(rows.device)
        rows = rows * per_channel_columns(balance, rows.shape[1])
    rank = branch_rank(scheme, info)
    branch = low_rank(rows, rank) if rank else None
    if branch is not None:
        rows = rows - branch[0].float() @ branch[1].float()
    return RoundingTarget(rows=rows, balance=balance, branch=branch)
