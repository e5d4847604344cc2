"""Writes the parts of the documents that follow from the code (`just docs`); never touches the words around them."""

import ast
import sys

import click

from tests.house import rules

START, END = "<!-- generated: just docs -->", "<!-- end -->"
ROOMS = {
    "lastseat": "Above and below all rooms",
    "lastseat/cli": "cli: the command line",
    "lastseat/rehearsal": "rehearsal: a rush on a stack of its own",
    "lastseat/web": "web: HTTP",
    "lastseat/reads": "reads: the read path",
    "lastseat/writes": "writes: the write path",
    "lastseat/upkeep": "upkeep: what an operator starts by hand",
    "lastseat/stores": "stores: the only room that speaks to servers",
    "lastseat/embedded": "embedded: Postgres and Valkey on this machine",
    "hubspot_emulator": "hubspot_emulator: a local HubSpot, sharing no code",
}


def tour() -> str:
    """Every module with the first half of its docstring: what it does."""
    lines: list[str] = []
    for room, title in ROOMS.items():
        lines += ["", f"### {title}", "", "| module | what it does |", "|---|---|"]
        for path in rules.with_suffix(".py", under=f"src/{room}/"):
            if path.parent == rules.ROOT / "src" / room and path.name != "__init__.py":
                docstring = ast.get_docstring(rules.parsed(path.read_text("utf-8"))) or ""
                said = docstring.splitlines()[0].split("; ")[0].rstrip(".").replace("|", "\\|")
                lines.append(f"| `{rules.short(path).removeprefix('src/').removeprefix('lastseat/')}` | {said} |")
    return "\n".join([*lines, ""])


def commands() -> str:
    """The help texts of both command lines."""
    import hubspot_emulator.cli
    import lastseat.cli

    return "\n".join(
        [*_help("lastseat", lastseat.cli.main, ()), *_help("hubspot-emulator", hubspot_emulator.cli.main, ()), ""]
    )


def _help(name: str, command: click.Command, parents: tuple[click.Context, ...]) -> list[str]:
    settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100, "color": False}
    context = click.Context(command, info_name=name, parent=parents[-1] if parents else None, **settings)
    lines = ["", f"## {context.command_path}", "", "```text", command.get_help(context).rstrip(), "```"]
    for child in command.list_commands(context) if isinstance(command, click.Group) else ():
        found = command.get_command(context, child)
        assert found is not None
        lines += _help(child, found, (*parents, context))
    return lines


PARTS = {"docs/architecture.md": tour, "docs/cli.md": commands}


def fresh(name: str) -> str:
    """The document with its generated part made anew."""
    text = (rules.ROOT / name).read_text("utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{PARTS[name]()}\n{END}{after}"


def main() -> None:
    """Rewrite every generated part."""
    for name in PARTS:
        (rules.ROOT / name).write_text(fresh(name), "utf-8")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
