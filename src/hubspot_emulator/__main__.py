"""Runs the command line as `python -m hubspot_emulator`; never anything else."""

from hubspot_emulator.cli import main

if __name__ == "__main__":
    main()
