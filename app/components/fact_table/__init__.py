"""FactTable: a small table of text that scrolls within itself on a phone."""

from app.components.fact_table.table import FactTable
from app.components.fact_table.value import TableValue

__all__ = ["FactTable", "TableValue"]
