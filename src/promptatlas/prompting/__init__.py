"""The prompt: all that was learned or chosen. What every method takes and returns."""

from promptatlas.prompting.ensemble import Ensemble
from promptatlas.prompting.history import Step, model
from promptatlas.prompting.prompt import Prompt
from promptatlas.prompting.rows import Line, Reader, Verbalizer

__all__ = ["Ensemble", "Line", "Prompt", "Reader", "Step", "Verbalizer", "model"]
