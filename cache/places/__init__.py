"""Where a store lies: a folder or a bucket, its one writer, and local copies of what is far away."""
