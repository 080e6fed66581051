"""Demonstrations: which examples are shown in the context, and how many it holds."""
