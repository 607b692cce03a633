"""The saga's steps in spans: until when the source's job runs on, and until when the source still holds the lease."""

from __future__ import annotations

from heliotrope.foundation.model import MigrationStep

BEFORE_THE_JOB_STOPS = (MigrationStep.PLANNED, MigrationStep.PREPARING, MigrationStep.STAGING)
BEFORE_THE_LEASE_PASSES = (
    *BEFORE_THE_JOB_STOPS,
    MigrationStep.QUIESCING,
    MigrationStep.SENDING,
    MigrationStep.VERIFIED,
)
