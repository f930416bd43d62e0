"""Rows of panels: one module a row, composed into boards."""
