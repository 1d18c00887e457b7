-- Clusters of duplicates by size: how many, and what was kept of them.
select
    step,
    size,
    count(distinct cluster_id) as clusters,
    count(*) as documents,
    count(*) filter (where kept) as kept,
    round(min(similarity), 3) as least_similarity
from steps.clusters
group by number, step, size
order by number, size
