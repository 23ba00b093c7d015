"""The command line, and its subcommands: a module each, with `add_arguments(parser)` and `run(arguments)`.

They stay thin, and import what is heavy inside `run`, so that `--help` and stages without torch start at once.
"""
