"""Examples, tasks, how they are read and drawn, how answers are folded and measured; nothing here imports torch."""
