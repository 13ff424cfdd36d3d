"""Breaking a runner for a while, and then holding its books to its rules."""
