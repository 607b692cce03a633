"""Which local account a job runs as on this node: what its file names, one of the pool's for itself, or the default."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Collection

from heliotrope.foundation.errors import Conflict, InvalidInput
from heliotrope.foundation.jobspec import JobSpec

from .config import JobsConfig
from .held import HeldJob, HeldJobs


class Accounts:
    """The node's rule, and who has which account of the pool."""

    def __init__(self, config: JobsConfig, held: HeldJobs, running: Callable[[], Collection[str]]) -> None:
        """``running``: ids of the jobs that run here now."""
        self._config = config
        self._held = held
        self._running = running

    def choose(self, job_id: str, spec: JobSpec) -> str:
        """The account's name; "": the agent's own. Raises Conflict when the node has none for the job."""
        config = self._config
        if spec.user and spec.user not in (*config.users_allowed, config.user):
            raise Conflict(f"cannot take the job: user {spec.user!r} is not in this node's jobs.users_allowed")
        name = spec.user or (self._of_pool(job_id) if config.users_pool else config.user)
        if not name and not config.allow_same_user:
            raise Conflict("cannot take the job: it names no user and this node's [jobs] has no default user")
        return name

    def owner(self, name: str) -> tuple[int, int] | None:
        """(uid, gid) of the account; None: the agent's own. Raises InvalidInput, Conflict."""
        if not name:
            return None
        try:
            account = pwd.getpwnam(name)
        except KeyError as error:
            raise InvalidInput(f"field user: this node has no account {name!r}; create it or name another") from error
        if account.pw_uid == 0:
            raise Conflict("cannot take the job: it would run as root; name an ordinary account")
        return (account.pw_uid, account.pw_gid) if os.geteuid() == 0 else None

    def _of_pool(self, job_id: str) -> str:
        """The one that it has, else one that no job has, else one whose jobs here are all over.

        Those are shut out of the account: nothing of theirs runs, and the agent needs no door.
        """
        others = [other for other in self._held.all() if other.job_id != job_id]
        busy = {other.user for other in others if self._is_busy(other)}
        own = self._held.find(job_id)
        if own is not None and own.user in self._config.users_pool:
            name = own.user
            if name in busy:
                raise Conflict(f"cannot take the job: its account {name!r} has another job now; try another node")
        else:
            name = self._free({other.user for other in others}, busy)
        for other in others:
            if other.user == name:
                self._held.shut(other.job_id)
        return name

    def _free(self, known: set[str], busy: set[str]) -> str:
        pool = self._config.users_pool
        free = [*(name for name in pool if name not in known), *(name for name in pool if name not in busy)]
        if not free:
            raise Conflict(
                f"cannot take the job: all {len(pool)} accounts of this node's jobs.users_pool have jobs; "
                "name as many as jobs may run here"
            )
        return free[0]

    def _is_busy(self, other: HeldJob) -> bool:
        """Runs, or is being prepared for its first run here."""
        return other.job_id in self._running() or other.epoch == 0
