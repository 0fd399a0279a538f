"""The Experiments page: shadows and splits over time, and their start, stop and promotion."""
