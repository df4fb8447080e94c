"""Parsing: what a reader sees comes through, under its headings; nothing else does."""

import pytest

from app.retrieval import parsing
from app.retrieval.errors import DocumentUnreadable
from app.retrieval.parsing import HTML, MARKDOWN, PLAIN, Block, parse


def texts(data: str, media_type: str) -> list[str]:
    return [block.text for block in parse(data.encode(), media_type).blocks]


def test_markdown_keeps_the_path_of_headings() -> None:
    parsed = parse(b"# Top\n\nlead\n\n## A\n\none\n\n### A1\n\ntwo\n\n## B\n\nthree\n", MARKDOWN)
    assert parsed.title == "Top"
    assert [(block.path, block.text) for block in parsed.blocks] == [
        (("Top",), "lead"),
        (("Top", "A"), "one"),
        (("Top", "A", "A1"), "two"),
        (("Top", "B"), "three"),
    ]


def test_markdown_items_rows_and_code_are_blocks_of_their_own() -> None:
    source = (
        "- one `x`\n- two\n\n1. first\n2. second\n\n| name | unit |\n| --- | --- |\n| lease | s |\n\n"
        "```sh\nrun  it\n```\n"
    )
    assert texts(source, MARKDOWN) == [
        "- one `x`", "- two", "1. first", "2. second", "name: lease; unit: s", "    run  it",
    ]  # fmt: skip


def test_html_inside_markdown_is_read_as_html() -> None:
    source = (
        "# T\n\n<div>seen<script>hidden()</script></div>\n\n<!-- hidden -->\n\nend <b>bold</b>\n"
    )
    assert texts(source, MARKDOWN) == ["seen", "end bold"]


def test_front_matter_gives_the_title_and_no_text() -> None:
    parsed = parse(b"---\ntitle: 'The queue'\nsecret: x\n---\nBody.\n", MARKDOWN)
    assert (parsed.title, parsed.blocks) == ("The queue", [Block(("The queue",), "Body.")])


C091 = """<html><head><title>Page</title><style>.css { color: red }</style></head><body>
<script>var k='SECRET1'</script><template><p>SECRET1</p></template><!-- SECRET1 -->
<noscript>SECRET1</noscript><p>Visible <b>te</b>xt.</p><svg><text>SECRET1</text></svg>
<p hidden>SECRET1</p>{deep}<p>The end.</p><script>SECRET1"""


def test_c091_scripts_styles_and_templates_never_come_through() -> None:
    deep = "<div>" * 10_000 + "deepest" + "</div>" * 10_000
    found = texts(C091.replace("{deep}", deep), HTML)
    assert found == ["Visible text.", "deepest", "The end."]


def test_html_that_nests_without_end_does_not_recurse() -> None:
    assert texts("<ul><li>" * 5_000 + "x", HTML)[-1].endswith("x")
    assert texts("<b>" * 20_000 + "x", HTML) == ["x"]
    assert texts("<table><tr><td>" * 2_000 + "x", HTML) == ["x"]


def test_markdown_that_nests_without_end_does_not_recurse() -> None:
    for source in ("> " * 5_000 + "x", "[" * 20_000, "*a " * 5_000, "<div>" * 20_000):
        parse(source.encode(), MARKDOWN)


def test_a_table_of_html_reads_row_by_row() -> None:
    source = (
        "<table><caption>Sizes</caption><tr><th>name</th><th>MB</th></tr>"
        "<tr><td>small<table><tr><td>in</td><td>ner</td></tr></table></td><td>1</td></tr></table>"
    )
    assert texts(source, HTML) == ["Sizes", "name: small in ner; MB: 1"]


def test_a_definition_knows_its_term_and_code_its_lines() -> None:
    source = "<h1>T</h1><dl><dt>work_mem</dt><dd>Memory<p>More</dd></dl><p>after<pre>a\n  b</pre>"
    blocks = parse(source.encode(), HTML).blocks
    assert [(block.term, block.text) for block in blocks] == [
        ("work_mem", "Memory"), ("work_mem", "More"), ("", "after"), ("", "    a\n      b"),
    ]  # fmt: skip


def test_the_heading_of_a_box_is_no_heading_of_what_follows() -> None:
    source = '<h1>T</h1><div class="note"><h3>Note</h3><p>careful</p></div><p>on</p>'
    assert [(b.path, b.text) for b in parse(source.encode(), HTML).blocks] == [
        (("T",), "Note: careful"), (("T",), "on"),
    ]  # fmt: skip


def test_navigation_is_no_text() -> None:
    source = '<nav>Home</nav><div class="navheader">Prev</div><p>Text</p>'
    assert texts(source, HTML) == ["Text"]


def test_a_page_of_links_alone_is_read_as_its_links() -> None:
    assert texts('<div class="toc"><ul><li>One<li>Two</ul></div>', HTML) == ["- One", "- Two"]


def test_several_top_headings_stand_under_the_title() -> None:
    parsed = parse(b"<title>VACUUM</title><h2>Name</h2><p>a<h2>Notes</h2><p>b", HTML)
    assert [block.path for block in parsed.blocks] == [("VACUUM", "Name"), ("VACUUM", "Notes")]


def test_plain_text_is_paragraphs() -> None:
    assert texts("one\nline\n\n\ntwo\r\n\r\nthree", PLAIN) == ["one line", "two", "three"]


@pytest.mark.parametrize(
    ("data", "declared", "text"),
    [
        ("Grüße".encode("latin-1"), "text/plain; charset=iso-8859-1", "Grüße"),
        ("Grüße".encode("utf-16"), "text/plain", "Grüße"),
        (b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe", "text/plain", "Grüße"),
        (b'<meta charset="iso-8859-1"><p>Gr\xfc\xdfe', "text/html", "Grüße"),
        (b"TEXT", "Text/Plain ; charset=US-ASCII", "TEXT"),
    ],
)
def test_the_declared_encoding_is_used(data: bytes, declared: str, text: str) -> None:
    assert [block.text for block in parse(data, declared).blocks] == [text]


@pytest.mark.parametrize(
    ("data", "declared", "reason"),
    [
        (b"Gr\xfc\xdfe", "text/plain", "encoding"),
        (b"\xff\xfe\x00", "text/plain", "encoding"),
        ("Grüße".encode(), "text/plain; charset=ascii", "encoding"),
        (b"abc", "text/plain; charset=martian", "encoding"),
        (b"abc", "text/plain; charset=hex", "encoding"),
        (b"\xed\xa0\x80", "text/plain", "encoding"),
        (rb"\ud800", "text/plain; charset=unicode_escape", "encoding"),
        (b"a\x00b", "text/markdown", "nul"),
        (b"<p>a\x00b", "text/html", "nul"),
        (b"%PDF-1.7", "application/pdf", "media_type"),
    ],
)
def test_what_is_not_text_is_refused_and_never_replaced(
    data: bytes, declared: str, reason: str
) -> None:
    with pytest.raises(DocumentUnreadable) as refused:
        parse(data, declared)
    assert refused.value.context["reason"] == reason


def test_a_nul_written_as_an_entity_becomes_no_nul() -> None:
    for media_type in (HTML, MARKDOWN):
        assert "\0" not in "".join(texts("a&#0;b &#xD800;", media_type))


def test_media_types_are_known_without_their_parameters() -> None:
    assert parsing.media_type("Text/HTML; charset=utf-8") == HTML
    assert parsing.media_type("application/json") is None
