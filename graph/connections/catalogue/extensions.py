"""The GraphQL type of extensions."""

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import ExtensionRow, extensions
from graph.connections.catalogue.loaders import ByKey, Pages
from graph.connections.catalogue.nodes import OF_DATABASE, catalogue_node, definition_field
from graph.kit.fields import attribute
from graph.kit.ids import Node


class ExtensionPages(Pages):
    kind = extensions.EXTENSIONS


class ExtensionByKey(ByKey):
    kind = extensions.EXTENSIONS


@strawberry.type(
    description="An extension that is installed in a connected database. " + OF_DATABASE
)
@catalogue_node("extension", row=ExtensionRow, loader=ExtensionByKey, names=1)
class DatabaseExtension(Node):
    name: str = attribute("Name of the extension.")
    version: str = attribute("Version that is installed.")
    schema_name: str = attribute("Name of the schema that contains its objects.")
    owner: str = attribute("Role that owns the extension.")
    comment: str | None = attribute(
        "Comment of the extension. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.EXTENSION)
