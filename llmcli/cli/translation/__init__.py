"""What ``llm translate`` does between its options and the task: names of files, jobs, results, reports."""
