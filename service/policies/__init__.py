"""Policies as dated, cited data: reading, checking, and what the decision needs of them."""
