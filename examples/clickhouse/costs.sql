-- What calls cost, asked of ClickHouse: the spans that collector-fleet.yaml writes into the table otel_traces.
-- Attributes are a map of texts; toDecimal128(..., 24) adds amounts up to the digit, where a float would round.

-- Spend in USD and calls by day (UTC) and model, the dearest first. Of a call whose cost was looked up afterwards, the
-- amount is on the span `generation ...` below it.
SELECT
    toDate(Timestamp, 'UTC') AS day,
    if(SpanAttributes['gen_ai.response.model'] != '', SpanAttributes['gen_ai.response.model'],
       SpanAttributes['gen_ai.request.model']) AS model,
    sum(toDecimal128OrZero(SpanAttributes['openrouter.usage.spend'], 24)) AS usd,
    countIf(SpanName NOT LIKE 'generation%') AS calls
FROM otel_traces
WHERE ScopeName = 'or_instrument'
GROUP BY day, model
ORDER BY usd DESC;

-- The same by a key of attributes(...), here `tenant`.
SELECT
    SpanAttributes['tenant'] AS tenant,
    sum(toDecimal128OrZero(SpanAttributes['openrouter.usage.spend'], 24)) AS usd,
    countIf(SpanName NOT LIKE 'generation%') AS calls
FROM otel_traces
WHERE ScopeName = 'or_instrument'
GROUP BY tenant
ORDER BY usd DESC;

-- What OpenRouter charged, and what providers billed to your own keys. The second is told for other calls too, where it
-- is a part of the first.
SELECT
    sum(toDecimal128OrZero(SpanAttributes['openrouter.usage.cost'], 24)) AS charged,
    sumIf(
        toDecimal128OrZero(SpanAttributes['openrouter.usage.cost_details.upstream_inference_cost'], 24),
        SpanAttributes['openrouter.usage.is_byok'] = 'true'
    ) AS upstream
FROM otel_traces
WHERE ScopeName = 'or_instrument';

-- Calls whose spend is not known, and was not looked up either, by how they ended.
SELECT
    SpanAttributes['openrouter.stream.outcome'] AS outcome,
    SpanAttributes['error.type'] AS error,
    count() AS calls
FROM otel_traces
WHERE ScopeName = 'or_instrument'
    AND SpanName NOT LIKE 'generation%'
    AND NOT mapContains(SpanAttributes, 'openrouter.usage.spend')
    AND SpanId NOT IN (
        SELECT ParentSpanId FROM otel_traces
        WHERE ScopeName = 'or_instrument'
            AND SpanName LIKE 'generation%'
            AND mapContains(SpanAttributes, 'openrouter.usage.spend')
    )
GROUP BY outcome, error
ORDER BY calls DESC;
