"""What can be wrong with a corpus."""

from app.core.errors import TowpathError


class CollectionExists(TowpathError):
    """The tenant already has a collection of this name. Context: name."""

    code = "collection_exists"


class DocumentEmpty(TowpathError):
    """The document has no text to search. Context: document."""

    code = "document_empty"


class DocumentUnreadable(TowpathError):
    """The bytes are not text in the encoding they claim. Context: reason."""

    code = "document_unreadable"
