"""`python -m lrp_dynamics` is the command `lrp-dynamics`."""

import sys

from lrp_dynamics.commands.cli import main

sys.exit(main())
