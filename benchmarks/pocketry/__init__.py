"""What `benchmarks/pocket.py` is made of: texts, losses, label words, facts, and the cells that are kept."""
