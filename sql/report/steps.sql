-- What each step made and took.
select
    step,
    stage,
    inputs,
    rows,
    round(bytes / 1e6, 1) as megabytes,
    round(wall_seconds, 1) as wall_seconds,
    round(cpu_seconds, 1) as cpu_seconds,
    round(peak_memory / 1e6, 0) as peak_memory_megabytes,
    finished
from steps
order by number
