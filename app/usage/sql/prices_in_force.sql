-- Prices in force: the latest entry of each model that has begun by a moment.
-- Takes   providers, models text[] of equal length · moment timestamptz, or NULL for the present
-- Gives   the price rows; no row: the model is not priced at that moment
-- Locks   nothing
-- Races   none: a price is never changed, only followed
-- Index   price_provider_model_from_at_key
SELECT DISTINCT ON (p.provider, p.model)
       p.id, p.provider, p.model, p.from_at, p.input_picousd, p.cached_input_picousd,
       p.cache_write_picousd, p.output_picousd
  FROM unnest(CAST(:providers AS text[]), CAST(:models AS text[])) AS asked (provider, model)
  JOIN price p ON p.provider = asked.provider AND p.model = asked.model
 WHERE p.from_at <= coalesce(CAST(:moment AS timestamptz), app_now())
 ORDER BY p.provider, p.model, p.from_at DESC
