"""Connectors: one module or folder for each type of certificate authority."""
