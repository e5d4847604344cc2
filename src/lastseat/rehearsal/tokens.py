"""Signs in sample people with the demo's own secret; never with a project's, and knows no real person."""

from pathlib import Path
from typing import Final

from lastseat.errors import SetupError
from lastseat.web.auth import sign
from lastseat.web.roles import PERMISSIONS

SECRET_FILE: Final = "demo.secret"  # noqa: S105  the name of a file
TOKEN_S: Final = 30 * 86_400


def student_token(secret: str, contact_id: str) -> str:
    """What Supabase Auth would give this student."""
    return sign(secret, subject=f"student-{contact_id}", ttl_s=TOKEN_S, contact_id=contact_id)


def staff_token(secret: str) -> str:
    """The same for a member of staff with every permission."""
    return sign(secret, subject="staff-demo", ttl_s=TOKEN_S, permissions=PERMISSIONS)


def demo_secret(folder: Path) -> str:
    """The secret that the demo made in this data folder, or one line that says there is none."""
    path = folder / SECRET_FILE
    try:
        return path.read_text().strip()
    except OSError as problem:
        raise SetupError(
            f"No demo has run in {folder}: {path.name} is missing, and tokens are made for the demo only.",
            way_out="Start `lastseat demo` once, or ask Supabase Auth for a real token.",
        ) from problem
