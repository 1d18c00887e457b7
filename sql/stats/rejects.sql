-- Why documents are gone: rejects of each step by rule, with the range of the values that failed.
with
totals as (
    select number, count(*) as rejected
    from steps.rejects
    group by number
)

select
    rejects.step,
    rejects.rule,
    count(*) as documents,
    round(100.0 * count(*) / max(totals.rejected), 1) as percent,
    rejects.threshold,
    min(rejects.value) as lowest,
    max(rejects.value) as highest
from steps.rejects as rejects
inner join totals on rejects.number = totals.number
group by rejects.number, rejects.step, rejects.rule, rejects.threshold
order by rejects.number, documents desc, rejects.rule, rejects.threshold
