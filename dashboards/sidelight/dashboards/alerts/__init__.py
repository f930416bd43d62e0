"""Alerts: conditions made of the same queries as the panels, with text, severity and runbook."""
