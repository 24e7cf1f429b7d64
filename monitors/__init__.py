"""Probes, alarms, incidents and metrics: what watches the signal at every hop."""
