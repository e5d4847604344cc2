"""Who may do what to whose bookings, each rule once; knows identities only, no request and no store."""

from lastseat.errors import Refused
from lastseat.model import ContactId, Identity

PERMISSIONS = frozenset(
    {
        "exams.create",
        "exams.edit",
        "exams.delete",
        "exams.activate",
        "bookings.view",
        "bookings.create",
        "bookings.cancel",
    }
)
"""A token that carries any of these is staff's; other words in `permissions` mean nothing here."""


def books_for(identity: Identity, asked: ContactId | None) -> ContactId:
    """Whose seat a booking is: a student's own, or with `bookings.create` anybody's."""
    if asked is not None and asked != identity.contact_id:
        _need(identity, "bookings.create")
        return asked
    if identity.contact_id is not None:
        return identity.contact_id
    _need(identity, "bookings.create")
    raise Refused("contactId is missing: staff books for a student.", field="contactId")


def reads_of(identity: Identity, asked: ContactId | None) -> ContactId | None:
    """Whose bookings a list shows; None is everybody's, for staff."""
    if identity.is_staff:
        return asked
    return _own(identity, asked)


def owner_when_reading(identity: Identity) -> ContactId | None:
    """Whose booking may be read; None is anybody's, for staff."""
    return reads_of(identity, None)


def owner_when_cancelling(identity: Identity, asked: ContactId | None) -> ContactId | None:
    """Whose bookings may be cancelled; None is anybody's, with `bookings.cancel`."""
    if "bookings.cancel" in identity.permissions:
        return asked
    return _own(identity, asked)


def need(identity: Identity, permission: str) -> None:
    """Refuse whoever lacks the permission, student or staff."""
    if permission not in identity.permissions:
        raise Refused(f"This needs the permission {permission}.", code="FORBIDDEN")


def need_any(identity: Identity, *permissions: str) -> None:
    """Refuse whoever has none of them."""
    if identity.permissions.isdisjoint(permissions):
        raise Refused(f"This needs one of the permissions {', '.join(permissions)}.", code="FORBIDDEN")


def need_staff(identity: Identity) -> None:
    """Refuse whoever has no permission at all."""
    need_any(identity, *sorted(PERMISSIONS))


def _own(identity: Identity, asked: ContactId | None) -> ContactId:
    if identity.contact_id is None:
        raise Refused("This account is not linked to a student, or lacks the permission.", code="FORBIDDEN")
    if asked is not None and asked != identity.contact_id:
        raise Refused("This contactId is not yours.", code="FORBIDDEN", field="contactId")
    return identity.contact_id


def _need(identity: Identity, permission: str) -> None:
    if permission in identity.permissions:
        return
    if identity.is_staff:
        raise Refused(f"This needs the permission {permission}.", code="FORBIDDEN")
    _own(identity, None)
    raise Refused("This contactId is not yours.", code="FORBIDDEN", field="contactId")
