"""`python -m leukoscope` is the command `leukoscope`."""

from .cli.main import main

if __name__ == "__main__":  # not in the processes that a command starts
    main()
