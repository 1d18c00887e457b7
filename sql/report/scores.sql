-- The scores of every score step, each system beside the others; scores of single classes are in the step's own table.
select
    step,
    metric,
    system,
    round(value, 4) as value,
    reason,
    count
from steps.scores
where class is null
order by number, metric, system
