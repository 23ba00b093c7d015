"""The figures of one recorded training, each a function of a `lrp_dynamics.recording.figures.run.Run`."""
