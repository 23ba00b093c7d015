"""What is measured: arrays in, numbers out; no file of its own."""
