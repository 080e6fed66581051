"""Formats of other tools, both ways. Nothing of theirs is run to read one: JSON and safetensors, never pickle."""
