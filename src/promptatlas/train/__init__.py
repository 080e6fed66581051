"""Training: one loop for every part, and the run it reports to."""
