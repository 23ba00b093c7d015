"""Does the training loss still fall in the second half of a training?"""
