"""Every benchmark in turn: each prints the ratio of our work to its limit, measured in one run."""

import bench_cluster
import bench_extract
import bench_feed
import bench_resume
import bench_scoring
import bench_step
import bench_verify

if __name__ == "__main__":
    for benchmark in (bench_step, bench_feed, bench_extract, bench_scoring, bench_verify, bench_resume, bench_cluster):
        benchmark.main()
