"""What is known: documents, cut into passages, found by words and by meaning.

collections  create, get, listed, delete: named corpora of a tenant
documents    put, get, listed, delete, serve, fail: texts under a name, in revisions
parsing      Markdown, HTML and plain text as blocks under their headings
chunking     blocks as passages of one section; long texts as parts
embedding    open_embedder: vectors of 256 numbers, offline
ingestion    ingest: bytes become passages, in batches, seen all at once
search       search: hybrid, exact, in one collection
tool          retrieval.search: search, as a tool of workflows
tool         retrieval.search: search, as a tool of workflows
errors       CollectionExists, DocumentEmpty, DocumentUnreadable

Owns collection, document, chunk. A document has revisions: `revision` is the newest upload, `served`
the one that searches see. An ingestion fills the next one in batches and changes over in one commit,
so it can be cut off anywhere, run again and run twice. Calls no model but the embedder.
"""
