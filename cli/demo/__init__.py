"""``heliotrope demo``: a job follows the green power through a fleet of real processes on this machine."""
