-- The funnel: what each step kept and rejected of each source, in documents, bytes of text and tokens.
-- Tokens are those that a tokenize step stored; it stands in the funnel as one more step. A document is counted once, in however many rows or
-- windows it lies; the tokens that windows share count in each.
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

pieces as (
    select number, step, document, length from steps.spans
    union all
    select number, step, document, length from steps.examples
),

tokenized as (
    select
        pieces.number,
        pieces.step,
        sources.source,
        count(distinct pieces.document) as documents,
        cast(null as bigint) as bytes,
        sum(pieces.length) as tokens
    from pieces
    inner join sources on pieces.document = sources.id
    group by pieces.number, pieces.step, sources.source
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
