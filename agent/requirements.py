"""Whether this node has what a job requires, asked as the job will see it: its account, its sandbox, its mounts.

The question is a small program of the shell in a run of its own (:mod:`.deeds.preparing` launches it): what only
root can read, a sandbox hides or a dead server no longer answers for would deceive a look from the agent itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from heliotrope.foundation.jobspec import Requirement

ANSWER_S = 20.0  # a share whose server is gone blocks whoever looks at it
# One fault a line: its word, then the path. Arguments: kind, path, the path as mountinfo writes it, and so on.
_LOOK = r"""
while [ $# -ge 3 ]; do
    kind=$1 path=$2 mounted=$3
    shift 3
    fault=
    if [ ! -e "$path" ]; then fault=absent
    elif [ "$kind" = folder ] && [ ! -d "$path" ]; then fault='not a folder'
    elif [ "$kind" = file ] && [ ! -f "$path" ]; then fault='not a file'
    elif [ ! -r "$path" ]; then fault='not readable'
    elif [ -d "$path" ] && [ ! -x "$path" ]; then fault='not searchable'
    elif [ "$kind" = mount ]; then
        fault='not mounted'
        while read -r _ _ _ _ where _; do
            if [ "$where" = "$mounted" ]; then fault=; fi
        done </proc/self/mountinfo
    fi
    if [ -n "$fault" ]; then printf '%s\t%s\n' "$fault" "$path"; fi
done
"""
_ESCAPES = {"\\": "\\134", " ": "\\040", "\t": "\\011", "\n": "\\012"}  # as the kernel writes /proc/self/mountinfo


def command(requires: Sequence[Requirement]) -> tuple[str, ...]:
    """The program that looks for each; it ends with 0 and says what is wrong, a line each; nothing: all is there."""
    arguments = []
    for one in requires:
        arguments += [one.kind, one.path, "".join(_ESCAPES.get(letter, letter) for letter in one.path)]
    return ("/bin/sh", "-c", _LOOK, "requires", *arguments)


def faults(output: str, node_id: str) -> list[str]:
    """What the program said, as sentences: "requires /data/x: absent at node n2"."""
    said = (line.partition("\t") for line in output.splitlines())
    return [f"requires {path}: {fault} at node {node_id}" for fault, tab, path in said if tab]
