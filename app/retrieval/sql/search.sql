-- Search: the passages of one collection nearest to a question, by its words and by its meaning.
-- Takes   tenant, collection uuid · query text · vector halfvec · depth, k int
-- Gives   k rows at most, best first: reciprocal rank fusion (60 + rank) of two rankings, each to
--         its `depth`; cosine; coverage, the share of the question's words in the passage (0 to 1),
--         each word weighed by how rare it is here (BM25's idf; one that is nowhere weighs most);
--         matched, the weight of those words in units of a word that is nowhere. A collection counts
--         as 100 chunks at least: in a handful, no word can be rare
-- Locks   nothing
-- Index   chunk_of_collection, chunk_words, document_pkey
-- Exact   every vector of the collection is compared: an index shared by tenants missed passages
--         that this finds (docs/blueprint.md, "Search")
WITH served AS MATERIALIZED (
    SELECT chunk.id, chunk.embedding <=> CAST(:vector AS halfvec) AS distance
    FROM chunk
    JOIN document ON document.id = chunk.document AND document.served = chunk.revision
    WHERE chunk.tenant = :tenant AND chunk.collection = :collection
), size AS (
    SELECT greatest(count(*), 100) AS chunks FROM served
), asked AS MATERIALIZED (
    SELECT lexeme,
           CAST('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''' AS tsquery) AS word
    FROM unnest(to_tsvector('english', :query))
), hit AS MATERIALIZED (
    SELECT served.id, asked.lexeme
    FROM asked
    JOIN chunk ON chunk.words @@ asked.word AND chunk.collection = :collection
    JOIN served ON served.id = chunk.id
), weight AS MATERIALIZED (
    SELECT asked.lexeme, ln(1 + (size.chunks - count(hit.id) + 0.5) / (count(hit.id) + 0.5)) AS idf
    FROM size CROSS JOIN asked LEFT JOIN hit ON hit.lexeme = asked.lexeme
    GROUP BY asked.lexeme, size.chunks
), covered AS MATERIALIZED (
    SELECT hit.id, sum(weight.idf) AS score FROM hit JOIN weight USING (lexeme) GROUP BY hit.id
), by_words AS (
    SELECT id, rank() OVER (ORDER BY score DESC) AS place
    FROM covered ORDER BY score DESC, id LIMIT :depth
), by_vector AS (
    SELECT id, rank() OVER (ORDER BY distance) AS place
    FROM served WHERE distance IS NOT NULL AND distance <> 'NaN' ORDER BY distance, id LIMIT :depth
), fused AS (
    SELECT id, coalesce(1.0 / (60 + by_words.place), 0) + coalesce(1.0 / (60 + by_vector.place), 0) AS score
    FROM by_words FULL JOIN by_vector USING (id)
    ORDER BY score DESC, id LIMIT :k
)
SELECT chunk.id, chunk.document, document.name, document.title, chunk.section, chunk.body, chunk.tokens,
       CAST(fused.score AS float8) AS score,
       CAST(coalesce(1 - nullif(served.distance, 'NaN'), 0) AS float8) AS cosine,
       CAST(coalesce(covered.score / (SELECT sum(idf) FROM weight), 0) AS float8) AS coverage,
       CAST(coalesce(covered.score / (SELECT ln(2 * chunks + 2) FROM size), 0) AS float8) AS matched
FROM fused
JOIN served ON served.id = fused.id
JOIN chunk ON chunk.id = fused.id
JOIN document ON document.id = chunk.document
LEFT JOIN covered ON covered.id = fused.id
ORDER BY fused.score DESC, chunk.id
