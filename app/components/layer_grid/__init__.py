"""LayerGrid: every layer with its bit-widths, to be found and changed one by one or in bulk."""

from app.components.layer_grid.edit import LayerEdit
from app.components.layer_grid.grid import LayerGrid
from app.components.layer_grid.value import FLOAT_BITS, GridOptions, GridValue, LayerRow

__all__ = ["FLOAT_BITS", "GridOptions", "GridValue", "LayerEdit", "LayerGrid", "LayerRow"]
