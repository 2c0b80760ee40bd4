"""Benchmarks: ratios taken in one run, both sides interleaved, everything answered checked afterwards."""
