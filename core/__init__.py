"""What the other packages stand on: errors, tokens, the doorbell, strict JSON, pagination."""
