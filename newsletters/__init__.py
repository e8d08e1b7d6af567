"""What is published, to whom, and how it gets there."""
