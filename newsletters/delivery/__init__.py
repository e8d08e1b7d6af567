"""How an issue gets to its readers: claim, gate, SMTP, settle. Only this package writes delivery states."""
