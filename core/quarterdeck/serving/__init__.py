"""The gateway: HTTP in, predictions out, traffic recorded."""
