"""The schema, step by step, in SQL written out."""
