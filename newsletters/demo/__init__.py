"""The demonstration: a sample issue to 1,000 made-up readers, and the server that catches the mails.

Everything here refuses to run with DEBUG off, and nothing else imports it.
"""
