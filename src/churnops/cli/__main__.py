"""`python -m churnops.cli` is `churnops`."""

from churnops.cli import main

main()
