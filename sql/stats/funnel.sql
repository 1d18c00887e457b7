-- The funnel: what each step kept and rejected of each source, in documents, bytes of text and tokens.
-- Tokens are those that a tokenize step stored; it stands in the funnel as one more step.
with
kept as (
    select number, step, source, count(*) as documents, sum(octet_length(text)) as bytes, cast(null as bigint) as tokens
    from steps.documents
    group by number, step, source
),

rejected as (
    select number, step, source, count(*) as rejected
    from steps.rejects
    group by number, step, source
),

-- A document's id stays the same through all steps.
sources as (
    select id, max(source) as source
    from steps.documents
    group by id
),

tokenized as (
    select
        spans.number,
        spans.step,
        sources.source,
        count(distinct spans.document) as documents,
        cast(null as bigint) as bytes,
        sum(spans.length) as tokens
    from steps.spans as spans
    inner join sources on spans.document = sources.id
    group by spans.number, spans.step, sources.source
),

every as (
    select * from kept
    union all
    select * from tokenized
)

select
    coalesce(every.number, rejected.number) as number,
    coalesce(every.step, rejected.step) as step,
    coalesce(every.source, rejected.source) as source,
    coalesce(every.documents, 0) as documents,
    coalesce(rejected.rejected, 0) as rejected,
    every.bytes,
    every.tokens
from every
full join rejected on every.number = rejected.number and every.source = rejected.source
order by number, source
