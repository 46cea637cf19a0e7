"""Pages do what they say."""
