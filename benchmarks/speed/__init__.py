"""Speed benchmarks: operations, time and memory of the engine beside the tools people use. See `__main__`."""
