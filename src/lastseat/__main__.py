"""Runs the command line as `python -m lastseat`; never anything else."""

from lastseat.cli import main

if __name__ == "__main__":
    main(prog_name="lastseat")
