"""`python -m sidelight.collector`: the same as the `sidelight` command."""

from sidelight.collector.cli.entry import main

if __name__ == "__main__":
    main()
