"""What the screen shows: a file for each pane, which declares columns and the queries that fill them."""
