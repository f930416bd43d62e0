"""Boards: rows of panels, with the variables and annotations they share."""
