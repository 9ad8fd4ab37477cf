"""Covercard, the service: CDS Hooks calls in, cards and coverage information out."""

__version__ = "0.1.0"
