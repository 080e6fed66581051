"""A language model behind an endpoint that completes text: requests, what is kept of replies, and how they are read."""
