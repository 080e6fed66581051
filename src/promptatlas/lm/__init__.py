"""The one door to language models: only this layer imports transformers."""
