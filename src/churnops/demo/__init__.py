"""The closed loop as a demonstration: `churnops demo`, or `make demo`.

`world` draws customers, `project` makes a folder and runs the product's commands in it, `feeder` sends customers and
their late outcomes to the API, `loop` directs, `screen` shows the progress, `timeline` reads the events back from the
journal, and `figure` draws them. `data` is a link to the repository's example table; a wheel has its files.
"""
