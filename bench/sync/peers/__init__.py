"""The same memories through three CRDTs of others, each with its own code: pycrdt in Python, Evolu and Actual in Node."""
