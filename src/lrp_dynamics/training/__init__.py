"""Training: the loop, what watches it, and what it leaves behind."""
