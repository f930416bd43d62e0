"""Panels by topic: one module for each row of a board."""
