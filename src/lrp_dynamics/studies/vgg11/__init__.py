"""A VGG-11 trained with validation, tested, and explained with a filter of the largest relevance."""
