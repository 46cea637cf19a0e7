"""One set of promises, kept by every connector: see `driver` for how a CA takes part."""
