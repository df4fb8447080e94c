"""What text may pass: sentences, the support that a text has in passages, and words aimed at a model.

sentences    split: text as sentences, items, rows and code
support      pick, verify, conclude, condense: the rules that keep a weak model honest
passages     Passage, Embed: what the rules are given
screening    flags: words in a text that speak to the model, not to the reader

Owns no table. All of it is pure: the embedder is handed in as `Embed`, because retrieval, which has
it, lies above. What goes in and comes out are plain dicts and lists, as the steps of a workflow
keep them.
"""
