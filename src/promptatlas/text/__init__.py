"""The template language: pure text in, pure text out; no tokenizer, no model."""
