"""Decision log: every call with its answer, durable before the answer is sent.

`recorder` appends to the chain in the segments, `drain` moves it into the rows behind; `queries`,
`policy_stats` and `metrics_model` read rows; `retention` prunes. The log serves audit and the
prefilling of forms, and nothing else (CRD 2.2.1 sec-6).
"""
