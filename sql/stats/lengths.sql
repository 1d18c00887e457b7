-- Histogram of text lengths after each step, in characters; each class is twice as wide as the one before.
with
lengths as (
    select number, step, cast(floor(log2(greatest(character_length(text), 1))) as bigint) as class
    from steps.documents
),

totals as (
    select number, count(*) as documents
    from lengths
    group by number
)

select
    lengths.step,
    cast(power(2, lengths.class) as bigint) as at_least,
    cast(power(2, lengths.class + 1) as bigint) as below,
    count(*) as documents,
    round(100.0 * count(*) / max(totals.documents), 1) as percent
from lengths
inner join totals on lengths.number = totals.number
group by lengths.number, lengths.step, lengths.class
order by lengths.number, lengths.class
