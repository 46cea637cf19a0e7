"""certctl: a self-hosted control plane for TLS certificates."""

__version__ = "0.2.0.dev0"
