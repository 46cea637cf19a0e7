"""Requests, certificates, chains: read and built with pyca/cryptography. No I/O."""
