"""Run the stages behind a version again in a clean folder and compare what comes out.

``chain`` finds the receipts behind a model, ``code`` brings back the code of a commit,
``layout`` lays out what a stage read, ``verdict`` compares, ``job`` puts them together::

    receipt -> code of its commit + its sources + its upstream outputs -> stage -> verdict
               (git worktree)       (by sha256)     (by sha256)

Every stage stands on the *recorded* outputs of the stages before it, so that a difference in
one is not counted again in those after it.
"""
