"""What is true without any I/O: plain values and pure functions."""
