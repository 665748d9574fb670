"""``python -m deepbelief``: the command line."""

from deepbelief.cli import main

if __name__ == "__main__":
    main()
