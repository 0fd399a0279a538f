"""The closed loop as a demonstration: `python -m demo`, or `make demo`.

`world` draws the customers, `project` makes a folder and starts the product's own commands in it, `feeder` is the
customers who ask and whose outcomes arrive late, `loop` directs and tells, `timeline` reads back from the journal what
happened, and `figure` draws it. Nothing here is imported by the product.
"""
