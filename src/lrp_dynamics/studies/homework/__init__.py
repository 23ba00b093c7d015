"""A ConvNet explained at every checkpoint of its training."""
