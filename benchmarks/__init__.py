"""Measurements. Everything that is compared is measured in one run, on one machine."""
