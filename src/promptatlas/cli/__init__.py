"""The command line: one file a command. Torch is imported inside commands, so `--help` and `methods` do without."""
