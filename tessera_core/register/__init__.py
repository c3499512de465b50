"""Scores to champion: a pure rule decides, the registry port acts, the reasons are kept.

::

    gate        evidence -> decision with reasons and numbers
    evidence    what the gate looks at, from records on disk
    card        what the version is, for people
    stage       version, decision, aliases, and the champion's artifact for export
"""
