"""What `make bench` runs: every figure of docs/performance.md, on throwaway servers, beside the machine's own limit."""
