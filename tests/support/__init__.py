"""What tests share: values, tasks, processes, servers and readers of what was sealed."""
