"""Which function does which operation, what it costs and which scope it needs; never does one itself."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from hubspot_emulator import associations, batches, definitions, objects, schemas, search
from hubspot_emulator.context import Asked, Context, Reply
from hubspot_emulator.portal import Portal

Kind = Literal["read", "write", "search"]


class Operation(NamedTuple):
    """One operation of the API."""

    run: Callable[[Context, Asked], Reply]
    kind: Kind
    subject: Literal["objects", "schemas"] = "objects"


OPERATIONS: dict[str, Operation] = {
    "list": Operation(objects.list_page, "read"),
    "create": Operation(objects.create, "write"),
    "read": Operation(objects.read, "read"),
    "update": Operation(objects.update, "write"),
    "archive": Operation(objects.archive, "write"),
    "search": Operation(search.search, "search"),
    "merge": Operation(objects.merge, "write"),
    "batch_create": Operation(batches.create, "write"),
    "batch_read": Operation(batches.read, "read"),
    "batch_update": Operation(batches.update, "write"),
    "batch_upsert": Operation(batches.upsert, "write"),
    "batch_archive": Operation(batches.archive, "write"),
    "association_list": Operation(associations.ends, "read"),
    "association_put": Operation(associations.put_one, "write"),
    "association_default": Operation(associations.put_default, "write"),
    "association_delete": Operation(associations.delete_one, "write"),
    "associations_batch_create": Operation(associations.batch_create, "write"),
    "associations_batch_default": Operation(associations.batch_default, "write"),
    "associations_batch_read": Operation(associations.batch_read, "read"),
    "associations_batch_archive": Operation(associations.batch_archive, "write"),
    "associations_batch_labels_archive": Operation(associations.batch_labels_archive, "write"),
    "labels": Operation(associations.labels, "read", "schemas"),
    "label_create": Operation(associations.label_create, "write", "schemas"),
    "label_update": Operation(associations.label_update, "write", "schemas"),
    "label_delete": Operation(associations.label_delete, "write", "schemas"),
    "properties_list": Operation(definitions.list_all, "read", "schemas"),
    "property_create": Operation(definitions.create, "write", "schemas"),
    "property_read": Operation(definitions.read, "read", "schemas"),
    "property_update": Operation(definitions.update, "write", "schemas"),
    "property_archive": Operation(definitions.archive, "write", "schemas"),
    "properties_batch_create": Operation(definitions.batch_create, "write", "schemas"),
    "properties_batch_read": Operation(definitions.batch_read, "read", "schemas"),
    "properties_batch_archive": Operation(definitions.batch_archive, "write", "schemas"),
    "schemas_list": Operation(schemas.list_all, "read", "schemas"),
    "schema_create": Operation(schemas.create, "write", "schemas"),
    "schema_read": Operation(schemas.read, "read", "schemas"),
    "schema_update": Operation(schemas.update, "write", "schemas"),
    "schema_archive": Operation(schemas.archive, "write", "schemas"),
    "schema_associate": Operation(schemas.associate, "write", "schemas"),
    "groups_list": Operation(definitions.groups, "read", "schemas"),
    "group_create": Operation(definitions.group_create, "write", "schemas"),
    "group_read": Operation(definitions.group_read, "read", "schemas"),
}


def scopes(operation: Operation, path: dict[str, str], portal: Portal) -> list[str]:
    """The scopes a token needs for this call."""
    verb = "read" if operation.kind in ("read", "search") else "write"
    found: list[str] = []
    for part in ("type", "from", "to"):
        name = path.get(part)
        if name is not None:
            custom = portal.names.get(name, name).startswith("2-")
            found.append(f"crm.{operation.subject}.{'custom' if custom else 'contacts'}.{verb}")
    if not found:
        found.append(f"crm.schemas.custom.{verb}")
    return list(dict.fromkeys(found))
