# What does a network's explanation do while the network learns?  `snakemake --cores all`, or `... demo`.
include: "workflow/Snakefile"
