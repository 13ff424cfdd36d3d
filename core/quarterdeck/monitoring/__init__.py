"""Monitors, their evaluations and the alerts that come of them."""
