"""One recorded training: its heatmaps, their dynamics, and the samples whose maps move extremely."""
