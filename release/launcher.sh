#!/bin/sh
# Starts Heliotrope with the Python beside this file, wherever the two lie and whoever links to them. A Python that the
# caller has set up for itself is none of ours: neither this interpreter nor those that it starts shall see it.
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONPLATLIBDIR
PYTHONNOUSERSITE=1
export PYTHONNOUSERSITE
program=$(readlink -f -- "$0") || exit 127
exec "${program%/*}/python3" -I -m heliotrope.cli "$@"
