"""How fast, how large, how far: measured side by side, never asserted (`make bench`).

`bodies` makes the calls, `servers` the four servers, `load` fires, `report` does the arithmetic and
the lines, `plot` the picture; `growth` and `log_growth` measure what grows with what.
"""
