"""Both ways of counting a column of a batch into the cells of its reference, and the way that churnops chooses."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from churnops.data.cells import count_by_index, count_by_sorting, sorting_is_faster

folder = Path(sys.argv[1])
points = np.unique(np.load(folder / "reference.npy")[-1])
batch = np.load(folder / "batch.npy")[-1]
seconds = {}
for name, count in (("sorting", count_by_sorting), ("index", count_by_index)):
    times = []
    for _ in range(5):
        started = time.process_time()
        count(batch, points)
        times.append(time.process_time() - started)
    seconds[name] = min(times)
print(json.dumps(seconds | {"chosen": "sorting" if sorting_is_faster() else "index"}))
