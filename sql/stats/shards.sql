-- Shards of token artifacts: rows, bytes and stored tokens of each file. Tokens are known where documents are packed into rows.
with
shards as (
    select
        steps.number,
        files.step,
        files.split,
        files.path,
        files.rows,
        files.bytes,
        sum(files.rows) over (partition by files.step, files.split order by files.path rows unbounded preceding) as rows_until
    from files
    inner join steps on files.step = steps.step
    where steps.kind = 'tokens' and files.table_name = 'tokens'
)

select
    shards.step,
    shards.split,
    shards.path,
    shards.rows,
    shards.bytes,
    sum(spans.length) as tokens
from shards
left join steps.spans as spans
    on
        shards.number = spans.number
        and shards.split = spans.split
        and spans.row >= shards.rows_until - shards.rows
        and spans.row < shards.rows_until
group by shards.number, shards.step, shards.split, shards.path, shards.rows, shards.bytes
order by shards.number, shards.split, shards.path
