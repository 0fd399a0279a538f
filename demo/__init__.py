"""The closed loop as a demonstration: `python -m demo`, or `make demo`.

`world` draws customers, `project` makes a folder and runs the product's commands in it, `feeder` sends customers and
their late outcomes to the API, `loop` directs, `screen` shows the progress, `timeline` reads the events back from the
journal, and `figure` draws them. The product imports nothing from here.
"""
