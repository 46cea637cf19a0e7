"""certctl: one control plane for TLS certificates from any certificate authority."""

__version__ = "0.1.0.dev0"
