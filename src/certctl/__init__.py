"""certctl: a self-hosted control plane for TLS certificates."""

__version__ = "0.1.0"
