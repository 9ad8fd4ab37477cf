"""Authentication of clients and readers, replay detection, and rate limits.

Without Flask: a token, the called URL and a clock come in; a client or an error goes out.
"""
