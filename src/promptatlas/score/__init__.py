"""From readings to labels: what is asked of a model, how answers become label scores, how those are calibrated."""
