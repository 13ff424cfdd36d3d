"""Deployments, their revisions, and the operations that move between them."""
