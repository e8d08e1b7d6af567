"""Pages that a reader opens from a mail. The token in the link is the whole authority."""
