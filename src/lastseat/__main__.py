"""Runs the command line, as `lastseat` and as `python -m lastseat`; never anything else."""

from lastseat.cli import main
from lastseat.embedded.process import die_with_uv


def start() -> None:
    """The program's entry; what it starts ends with it, and it ends with the `uv run` that started it."""
    die_with_uv()
    main(prog_name="lastseat")


if __name__ == "__main__":
    start()
