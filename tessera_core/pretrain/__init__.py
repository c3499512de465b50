"""Shards to encoder: the loop on one page, and the small parts it calls.

::

    job ─► loop ─┬─ step_order   which d-pixels a step sees, and its chance: a pure function
                 ├─ loader       their raw observations, gathered ahead by threads
                 ├─ batches      two views and a mix of them, on the device
                 │    └─ views   counter-based draws: views_plain (any device), views_compiled (CPU)
                 ├─ task         network, objective; for many ranks: collective, distributed, ranks
                 ├─ schedule     learning rate
                 ├─ measure      one record of a logged step; health stops what cannot go on
                 ├─ selection    the probe in the background, the best encoder so far
                 ├─ checkpoint   stop and go on, exactly
                 └─ meter        speed and estimated time left; flops: what the hardware could do

The stage calls the job, or has launch start one per rank, and draws figures of the result.
"""
