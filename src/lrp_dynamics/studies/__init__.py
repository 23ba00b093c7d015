"""The studies: one package each, found by its name; none imports another."""
