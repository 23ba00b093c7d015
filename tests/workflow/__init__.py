"""Tests of the workflow. A package, so that no other `workflow` on the path is taken for it."""
