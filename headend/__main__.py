"""``python -m headend`` is the command line."""

from headend.cli import main

if __name__ == "__main__":
    main()
