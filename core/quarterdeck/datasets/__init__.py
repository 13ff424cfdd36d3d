"""Datasets: content-addressed versions of tables, with the schema that was found in them."""
