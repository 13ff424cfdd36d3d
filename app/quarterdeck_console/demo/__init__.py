"""The demo: a sample workspace, real processes, and an outside world that pays, labels and exports at high speed."""
