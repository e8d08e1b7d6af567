"""What `make bench` runs. Figures are printed with the machine's own limit beside them, never asserted."""
