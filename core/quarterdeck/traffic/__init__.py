"""Predictions and labels, in a file of their own."""
