"""A document as it is sent: the body itself, or a file in a form (RFC 7578)."""

from email.message import Message
from pathlib import PurePath
from typing import Final

from app.api.errors import BadRequest, UnsupportedMediaType
from app.core.errors import Invalid
from app.intake.documents import Upload
from app.retrieval import parsing

MAX_PARTS: Final = 16
MAX_TITLE: Final = 255
_BY_SUFFIX: Final = {
    ".md": parsing.MARKDOWN, ".markdown": parsing.MARKDOWN, ".txt": parsing.PLAIN,
    ".html": parsing.HTML, ".htm": parsing.HTML,
}  # fmt: skip
_UNTOLD: Final = ("", "application/octet-stream")  # what clients send that don't know


def read(content_type: str, body: bytes, *, name: str | None, title: str | None) -> Upload:
    """The document in a request. Raises UnsupportedMediaType, Invalid, BadRequest.

    In a form the part `file` is the document; its file name, or the part `name`, is its name.
    """
    if _essence(content_type) == "multipart/form-data":
        return _from_form(content_type, body, name, title)
    if name is None:
        raise Invalid.at("/name", "a document has a name: `?name=`, or a form with a file")
    return Upload(name, _title(title or ""), _known(content_type, name), body)


def _from_form(content_type: str, body: bytes, name: str | None, title: str | None) -> Upload:
    fields: dict[str, str] = {}
    file: tuple[str, str, bytes] | None = None
    for head, content in _parts(content_type, body):
        field = str(head.get_param("name", "", header="content-disposition"))
        if field == "file":
            filename = str(head.get_param("filename", "", header="content-disposition"))
            file = filename, head.get("content-type", ""), content
        else:
            fields[field] = content.decode("utf-8", "replace")
    if file is None:
        raise Invalid.at("/file", "the form has no part `file`")
    chosen = name or fields.get("name") or PurePath(file[0]).name
    if not chosen:
        raise Invalid.at("/name", "the file has no name")
    told = _title(title or fields.get("title", ""))
    return Upload(chosen, told, _known(file[1], chosen), file[2])


def _title(text: str) -> str:
    if len(text) > MAX_TITLE or not text.isprintable():
        raise Invalid.at("/title", f"at most {MAX_TITLE} printable characters")
    return text


def _parts(content_type: str, body: bytes) -> list[tuple[Message, bytes]]:
    boundary = _header(f"Content-Type: {content_type}").get_param("boundary", "")
    if not isinstance(boundary, str) or not boundary.isascii() or not 1 <= len(boundary) <= 70:
        raise BadRequest("The form names no boundary.")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), MAX_PARTS + 1)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise BadRequest(f"The form doesn't end, or has more than {MAX_PARTS} parts.")
    parts = []
    for piece in pieces[1:-1]:
        head, parted, content = piece.partition(b"\r\n\r\n")
        if not parted:
            raise BadRequest("A part of the form has no head.")
        parts.append((_header(head.decode("utf-8", "replace").strip()), content))
    return parts


def _header(text: str) -> Message:
    message = Message()
    for line in text.split("\r\n"):
        field, _, value = line.partition(":")
        message[field.strip()] = value.strip()
    return message


def _known(content_type: str, name: str) -> str:
    told = content_type
    if _essence(content_type) in _UNTOLD:
        told = _BY_SUFFIX.get(PurePath(name).suffix.lower(), "")
    if parsing.media_type(told) is None:
        known = ", ".join(sorted(parsing.MEDIA_TYPES))
        raise UnsupportedMediaType(f"A document is one of {known}.")
    return told


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
