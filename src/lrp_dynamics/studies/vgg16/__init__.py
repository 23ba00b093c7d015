"""A VGG-16 with published or fitted weights, explained layer by layer on photos."""
