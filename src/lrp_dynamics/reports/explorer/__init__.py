"""A page to scrub through recordings, step by step: one file that needs nothing else.

In this order: `shrinking` fits frames into the page's size, `encoding` makes few bytes of the frames of a sample,
`packing` puts arrays into text, `content` takes from recordings what the page shows, `writing` joins it with the page's
own files, which lie in the folder `page`.
"""

from lrp_dynamics.reports.explorer.writing import write_explorer

__all__ = ["write_explorer"]
