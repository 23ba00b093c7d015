"""Reports: notebooks that are run by the pipeline and written as .ipynb and as one self-contained page."""
