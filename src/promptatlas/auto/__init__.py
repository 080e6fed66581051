"""The best predictor for few labels: a portfolio of methods, tried on these labels alone, and what to expect of it."""

BUDGET = 2e14  # operations: some twenty minutes of a processor core
