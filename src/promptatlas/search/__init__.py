"""Search: candidates for a prompt's tokens and words, and how well they do."""
