"""Comparing methods: cells that were measured, and reports of them."""

from promptatlas.bench.measure import Contender, majority, measured, naive_bayes
from promptatlas.bench.report import Cell, Column, Entry, Report, Sample, Spread, table

__all__ = [
    "Cell",
    "Column",
    "Contender",
    "Entry",
    "Report",
    "Sample",
    "Spread",
    "majority",
    "measured",
    "naive_bayes",
    "table",
]
