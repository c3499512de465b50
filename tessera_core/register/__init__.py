"""Scores to champion: a pure rule decides, the registry port acts, the reasons are kept.

::

    promotion   candidate + champion -> decision with reasons
    card        what the version is, for people
    stage       version, decision, aliases, and the champion's artifact for export
"""
