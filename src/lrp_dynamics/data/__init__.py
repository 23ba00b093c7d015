"""Datasets: every source ends in one layout, `data/<name>.h5`, read and written by `prepared`."""
