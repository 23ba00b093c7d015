"""Several LRP rules recorded during the same trainings, side by side."""
