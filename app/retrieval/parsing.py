"""Documents as blocks of text under their headings: from Markdown, HTML and plain text.

Bytes that are not text in the encoding they claim are refused, never replaced by marks. No walk
over a document recurses, so nesting is only as deep as memory.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from selectolax.lexbor import LexborHTMLParser, LexborNode

from app.retrieval.errors import DocumentUnreadable

MARKDOWN: Final = "text/markdown"
PLAIN: Final = "text/plain"
HTML: Final = "text/html"
MEDIA_TYPES: Final = frozenset({MARKDOWN, PLAIN, HTML})

_SPACE: Final = re.compile(r"\s+")
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_FRONT_MATTER: Final = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n", re.DOTALL)
_TITLE_LINE: Final = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META_WITHIN_BYTES: Final = 1024  # HTML says: the encoding declaration lies within the first 1024

_DROPPED: Final = frozenset(
    {"head", "script", "style", "template", "noscript", "svg", "iframe", "object", "select"}
    | {"-comment"}
)
# What DocBook's stylesheets, and so most manuals, call the links around a page.
_NAVIGATION: Final = frozenset({"navheader", "navfooter", "toc"})
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_BREAKING: Final = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details"}
    | {"dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header"}
    | {"hr", "html", "legend", "li", "main", "ol", "p", "pre", "section", "summary", "table"}
    | {"tbody", "tfoot", "thead", "tr", "ul"}
)
# Boxes with a title of their own, which is no heading of what follows the box.
_BOXES: Final = frozenset({"note", "tip", "important", "warning", "caution", "admonition"})


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, item, row or piece of code, under its headings.

    `term` is what a definition list defines here; code keeps its lines, each indented by four.
    """

    path: tuple[str, ...]
    text: str
    term: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document as text. `title` is empty where it names itself nowhere."""

    title: str
    blocks: list[Block]


def media_type(declared: str) -> str | None:
    """The type without its parameters, or None where Towpath does not read it."""
    bare = declared.partition(";")[0].strip().lower()
    return bare if bare in MEDIA_TYPES else None


def parse(data: bytes, declared: str) -> Parsed:
    """The text of a document. Raises DocumentUnreadable for another type, a wrong encoding, a NUL."""
    bare = media_type(declared)
    if bare is None:
        raise DocumentUnreadable("not Markdown, HTML or plain text", reason="media_type")
    text = _decode(data, declared, html=bare == HTML)
    if bare == HTML:
        return _parse_html(text)
    return _parse_markdown(text) if bare == MARKDOWN else _parse_plain(text)


def _decode(data: bytes, declared: str, *, html: bool) -> str:
    name, body = _encoding(data, declared, html=html)
    try:
        text = body.decode(name)
        text.encode()  # some codecs give lone surrogates, which are no characters
    except LookupError:
        raise DocumentUnreadable(f"{name} is no encoding of text", reason="encoding") from None
    except UnicodeError:
        raise DocumentUnreadable(f"the bytes are not {name}", reason="encoding") from None
    if "\0" in text:
        raise DocumentUnreadable("the text holds a NUL character", reason="nul")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(data: bytes, declared: str, *, html: bool) -> tuple[str, bytes]:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name, data[len(mark) :]
    found = _CHARSET.search(declared)
    if found is None and html:
        found = _CHARSET.search(data[:_META_WITHIN_BYTES].decode("ascii", "ignore"))
    return found.group(1).lower() if found else "utf-8", data


@dataclass(slots=True)
class _Page:
    """What is gathered while a document is read: its headings so far and the text under them."""

    blocks: list[Block] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    term: str = ""

    def head(self, level: int, text: str) -> None:
        if text:
            self.headings = [above for above in self.headings if above[0] < level]
            self.headings.append((level, text))
            self.term = ""

    def add(self, text: str) -> None:
        if text.strip():
            path = tuple(text for _, text in self.headings)
            self.blocks.append(Block(path, text, self.term))


def _squeeze(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def _code(text: str) -> str:
    lines = text.expandtabs(4).strip("\n").split("\n")
    return "\n".join(f"    {line}".rstrip() for line in lines)


def _row(cells: Sequence[str], header: Sequence[str]) -> str:
    """A row that can be read alone: each cell behind the name of its column."""
    if len(header) == len(cells) > 1:
        return "; ".join(
            f"{name}: {cell}" if name else cell
            for name, cell in zip(header, cells, strict=True)
            if cell
        )
    return "; ".join(cell for cell in cells if cell)


# Plain text


def _parse_plain(text: str) -> Parsed:
    page = _Page()
    for paragraph in re.split(r"\n[ \t]*\n", text):
        page.add(_squeeze(paragraph))
    return Parsed("", page.blocks)


# Markdown


def _parse_markdown(text: str) -> Parsed:
    title = ""
    front = _FRONT_MATTER.match(text)
    if front:
        named = _TITLE_LINE.search(front.group(1))
        title = named.group(1) if named else ""
        text = text[front.end() :]
    # HTML is on so that it is seen as such: its scripts and comments are dropped like a page's own.
    reader = MarkdownIt("commonmark", {"html": True, "maxNesting": 100}).enable("table")
    page = _Page()
    _read_markdown(reader.parse(text), page)
    return _rooted(title, page.blocks)


def _rooted(title: str, blocks: list[Block]) -> Parsed:
    """Every path begins with the one heading that stands over all, or else with the title."""
    tops = {block.path[:1] for block in blocks}
    if len(tops) == 1 and () not in tops:
        return Parsed(title or tops.pop()[0], blocks)
    if not title:
        title = next((block.path[0] for block in blocks if block.path), "")
    if not title:
        return Parsed("", blocks)
    rooted = [
        block if block.path[:1] == (title,) else replace(block, path=(title, *block.path))
        for block in blocks
    ]
    return Parsed(title, rooted)


def _read_markdown(tokens: list[Token], page: _Page) -> None:
    level, marker = 0, ""
    header: list[str] = []
    cells: list[str] | None = None
    for token in tokens:
        match token.type:
            case "heading_open":
                level = int(token.tag[1])
            case "heading_close":
                level = 0
            case "list_item_open":
                marker = f"{token.info}{token.markup} " if token.info else "- "
            case "table_open":
                header = []
            case "tr_open":
                cells = []
            case "thead_close":
                header, cells = cells or [], None
            case "tr_close" if header and cells is not None:
                page.add(_row(cells, header))
                cells = None
            case "fence" | "code_block":
                page.add(_code(token.content))
            case "html_block":
                page.blocks += _fragment(token.content, page)
            case "inline":
                text = _inline(token, marks=not level)
                if cells is not None:
                    cells.append(text)
                elif level:
                    page.head(level, text)
                else:
                    page.add(marker + text if text else "")
                    marker = ""
            case _:
                pass


def _fragment(html: str, page: _Page) -> list[Block]:
    path = tuple(text for _, text in page.headings)
    return [replace(block, path=path + block.path) for block in _read_html(html).blocks]


def _inline(token: Token, *, marks: bool) -> str:
    """The text of a line; code keeps its marks, since the words in it stand for themselves."""
    words: list[str] = []
    for child in token.children or []:
        if child.type == "code_inline" and marks:
            words.append(f"`{child.content}`")
        elif child.type in ("text", "code_inline", "image"):
            words.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            words.append(" ")
    return _squeeze("".join(words))


# HTML


def _parse_html(text: str) -> Parsed:
    page = _read_html(text)
    if not page.blocks:  # a page of links alone is read as its links
        page = _read_html(text, navigation=True)
    return _rooted(page.title, page.blocks)


def _read_html(text: str, *, navigation: bool = False) -> "_HtmlPage":
    tree = LexborHTMLParser(text)
    title = tree.css_first("title")
    page = _HtmlPage(title=_squeeze(title.text()) if title is not None else "")
    if tree.root is not None:
        for tag, node in _walk(tree.root, navigation=navigation):
            page.leave(tag) if node is None else page.enter(tag, node)
    page.flush()
    return page


def _walk(root: LexborNode, *, navigation: bool) -> Iterator[tuple[str, LexborNode | None]]:
    """Every visible node in order as (tag, node), and (tag, None) where an element ends."""
    ahead: list[tuple[str, LexborNode | None]] = [(root.tag or "", root)]
    while ahead:
        tag, node = ahead.pop()
        if node is None:
            yield tag, None
            continue
        # A node brings its next sibling and its first child: the stack grows with depth, not width.
        if node.next is not None and len(ahead) > 0:
            ahead.append((node.next.tag or "", node.next))
        if tag in _DROPPED or _hidden(node) or (not navigation and _leads_around(tag, node)):
            continue
        yield tag, node
        if tag.startswith("-"):
            continue
        ahead.append((tag, None))
        if node.child is not None:
            ahead.append((node.child.tag or "", node.child))


def _hidden(node: LexborNode) -> bool:
    if (node.tag or "-").startswith("-"):
        return False
    return "hidden" in node.attributes or node.attributes.get("aria-hidden") == "true"


def _leads_around(tag: str, node: LexborNode) -> bool:
    if tag == "nav":
        return True
    classes = "" if tag.startswith("-") else node.attributes.get("class")
    return not _NAVIGATION.isdisjoint((classes or "").split())


@dataclass(slots=True)
class _HtmlPage(_Page):
    """The state between two tags: the words of the block being read and what kind it is."""

    title: str = ""
    words: list[str] = field(default_factory=list)
    marker: str = ""
    boxes: list[bool] = field(default_factory=list)  # of the open elements that break: is it a box?
    code: int = 0
    header: list[str] = field(default_factory=list)
    cells: list[str] | None = None
    names: int = 0  # th cells of the row being read
    inner: int = 0  # tables open inside the cell being read
    lists: list[int] = field(
        default_factory=list
    )  # open lists: the next number, or -1 for a bullet
    terms: list[str] = field(default_factory=list)  # of the definition lists around this one

    def enter(self, tag: str, node: LexborNode) -> None:
        if tag == "-text":
            self.words.append(node.text_content or "")
        elif tag == "br":
            self.words.append("\n" if self.code else " ")
        elif self.cells is not None and (self.inner or tag not in ("td", "th")):
            self._space(tag)
            self.inner += tag == "table"
        elif tag in _BREAKING or tag in _HEADINGS:
            self.flush()
            self._open(tag, node)
        elif tag in ("td", "th"):
            self._cell()
            self.names += tag == "th"

    def _open(self, tag: str, node: LexborNode) -> None:
        if tag in ("div", "aside"):
            classes = (node.attributes.get("class") or "").split()
            self.boxes.append(tag == "aside" or not _BOXES.isdisjoint(classes))
        elif tag == "pre":
            self.code += 1
        elif tag == "table":
            self.header, self.cells = [], None
        elif tag == "tr":
            self.cells, self.names = [], 0
        elif tag in ("ol", "ul"):
            self.lists.append(1 if tag == "ol" else -1)
        elif tag == "dl":
            self.terms.append(self.term)
        elif tag == "li":
            number = self.lists[-1] if self.lists else -1
            self.marker = "- " if number < 0 else f"{number}. "
            if number > 0:
                self.lists[-1] += 1

    def leave(self, tag: str) -> None:
        if self.cells is not None:
            self._leave_in_row(tag)
        elif tag in _HEADINGS and not any(self.boxes):
            self.head(_HEADINGS[tag], self._take())
        elif tag in _HEADINGS:
            self.marker = f"{self._take()}: "
        elif tag == "dt":
            self.term = self._take()
        elif tag in _BREAKING:
            self.flush()
            self._close(tag)

    def _leave_in_row(self, tag: str) -> None:
        self._space(tag)
        if tag == "table":
            self.inner -= 1
        elif not self.inner and tag in ("td", "th"):
            self._cell()
        elif not self.inner and tag == "tr":
            self._close_row()

    def _space(self, tag: str) -> None:
        """Whatever a cell holds, its row stays one line."""
        if tag in _BREAKING or tag in _HEADINGS or tag in ("td", "th"):
            self.words.append(" ")

    def _close(self, tag: str) -> None:
        if tag == "pre":
            self.code -= 1
        elif tag in ("div", "aside"):
            self.boxes.pop()
        elif tag in ("ol", "ul"):
            self.lists.pop()
        elif tag == "dl":
            self.term = self.terms.pop()

    def flush(self) -> None:
        """End the block being read."""
        if self.cells is not None:
            return
        if self.code:
            text = "".join(self.words)
            self.words.clear()
            self.add(_code(text))
        else:
            text = self._take()
            if text:
                self.add(self.marker + text)
                self.marker = ""

    def _take(self) -> str:
        text = _squeeze("".join(self.words))
        self.words.clear()
        return text

    def _cell(self) -> None:
        text = self._take()
        if self.cells is not None and text:
            self.cells.append(text)

    def _close_row(self) -> None:
        self._cell()
        cells, self.cells = self.cells or [], None
        if cells and self.names == len(cells) and not self.header:
            self.header = cells
        else:
            self.add(_row(cells, self.header))
