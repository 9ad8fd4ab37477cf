"""Composition root: the only room that wires settings, stores and blueprints together."""
