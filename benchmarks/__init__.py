"""The broker measured beside the baselines it is judged by: `make bench`, `make bench-quick`, docs/benchmarks.md."""
