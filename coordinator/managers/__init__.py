"""Managers: each brings its part of the state to where it should be, in the state thread (:mod:`..engine`)."""
