"""`python -m sidelight.collector`: the same as the `sidelight` command."""

from sidelight.collector.command import main

if __name__ == "__main__":
    main()
