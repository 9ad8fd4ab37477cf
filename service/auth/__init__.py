"""Trust: which clients may call, how their tokens are checked, and how often each may call.

No Flask here: a token, the URL called and a clock come in; a client or an error goes out.
"""
