"""The decision log: every call and its answer, durable before the answer leaves.

`recorder` keeps, `queries`, `stats` and `metrics_model` read, `prune` removes what is past its
retention. Kept for audit and for filling in forms, and for nothing else (CRD 2.2.1 sec-6).
"""
