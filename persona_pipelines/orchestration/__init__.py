"""What all rooms share on the side of Dagster: resources, metadata, partitions, jobs, schedules, and running."""
