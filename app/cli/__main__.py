"""`python -m app.cli` is `towpath`."""

from app.cli import main

main()
