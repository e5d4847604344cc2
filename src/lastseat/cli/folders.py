"""Keeps the demo's data and the service's in folders of their own; never lets one use what the other has filled."""

from pathlib import Path
from typing import Final, Literal

from lastseat.embedded.account import service_account
from lastseat.embedded.folder import Say, data_folder, prepare, silent, write_private
from lastseat.errors import SetupError
from lastseat.rehearsal.stack import EMULATOR
from lastseat.rehearsal.tokens import SECRET_FILE

Use = Literal["demo", "service"]
DEMO: Final = "demo"
"""The demo's folder below the data folder."""
USE: Final = "lastseat.use"
DEMOS_OWN: Final = (SECRET_FILE, EMULATOR)
STORES: Final = ("postgres", "valkey")
WHY: Final = {
    "demo": "holds the data of a demo, whose people and exams are made up",
    "service": "holds the data of a service, which no demo may touch",
}


def service_folder(explicit: Path | None, *, say: Say = silent) -> Path:
    """The data folder for the service's own stores; refused when a demo has filled it."""
    return _taken(data_folder(explicit, on_progress=say), "service")


def demo_folder(explicit: Path | None, *, say: Say = silent) -> Path:
    """The demo's folder below the data folder; refused when a service has filled it."""
    folder = data_folder(explicit, on_progress=say) / DEMO
    return _taken(prepare(folder, service_account()), "demo")


def use_of(folder: Path) -> Use | None:
    """Whose data this folder holds: as it is marked, or in one from before there was a mark, as its files tell."""
    mark = folder / USE
    if mark.exists():
        return "demo" if mark.read_text().strip() == "demo" else "service"
    if any((folder / name).exists() for name in DEMOS_OWN):
        return "demo"
    return "service" if any((folder / name).exists() for name in STORES) else None


def _taken(folder: Path, use: Use) -> Path:
    found = use_of(folder)
    if found not in {None, use}:
        raise SetupError(
            f"The data folder {folder} {WHY[found or use]}.",
            way_out="Set LASTSEAT_DATA_DIR to another folder, or move this one away.",
        )
    if found is None:
        write_private(folder / USE, use + "\n")
    return folder
