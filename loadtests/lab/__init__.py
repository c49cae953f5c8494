"""What the load tests share: processes, load, and rounds that compare."""
