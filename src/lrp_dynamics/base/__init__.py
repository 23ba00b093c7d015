"""What every package uses: errors, files, tables, parameters, locks."""
