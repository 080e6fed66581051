"""Saved prompts: a folder with `prompt.json` and `parts.safetensors`; never pickle, nothing is evaluated."""
