# What does a network's explanation do while the network learns?  `snakemake --cores all`, or `... demo`.
include: "workflow/Snakefile"


# Snakemake takes no default target from a file that is included.
make_default(workflow, "all")
