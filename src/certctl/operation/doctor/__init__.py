"""Looks an installation over. Each module has checks of one kind; `examine` runs them all.

A check judges in a function that touches nothing, so that a test can give it any state.
"""
