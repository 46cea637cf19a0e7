"""The use cases: what happens to certificates and orders, and when."""
