"""One file for each outside system. Only quarterdeck.bootstrap imports from here."""
