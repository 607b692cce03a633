#!/bin/sh
# Runs a command in a podman container as a job: container.sh IMAGE COMMAND [ARGUMENT]...
#
# What Heliotrope hands over is seen inside under the same paths: the working folder with the checkpoints, the one to
# resume from, the socket, the module heliotrope.job. The container's exit code is the job's.
# CONTAINER_ENGINE=echo shows the command instead of running it; CONTAINER_OPTIONS adds options.
set -eu
image=$1
shift
set -- "$image" "$@"
for folder in "$PWD" "${HELIOTROPE_CHECKPOINT_DIR:-}" "${HELIOTROPE_RESUME_FROM:-}" "${PYTHONPATH%%:*}"; do
    [ -z "$folder" ] || set -- --volume "$folder:$folder" "$@"
done
if [ -n "${HELIOTROPE_SOCKET:-}" ]; then
    folder=$(dirname "$HELIOTROPE_SOCKET")
    set -- --volume "$folder:$folder" "$@"
fi
for name in JOB_ID EPOCH CHECKPOINT_DIR RESUME_FROM SOCKET KEEP_COUNT STOPPED_CODE REQUEST_SIGNAL; do
    set -- --env "HELIOTROPE_$name" "$@"
done
# One device per GPU that the job was given, by the container device interface (nvidia-ctk cdi generate).
for uuid in $(echo "${CUDA_VISIBLE_DEVICES:-}" | tr ',' ' '); do
    set -- --device "nvidia.com/gpu=$uuid" "$@"
done
# --cgroups=split: the container stays in the job's own control group, and ends with it whatever happens to podman.
# --init: the command is not process 1, which ignores SIGTERM unless it handles it.
# shellcheck disable=SC2086 # options are words
exec "${CONTAINER_ENGINE:-podman}" run --rm --init --cgroups=split --network=none --userns=keep-id \
    --security-opt label=disable --workdir "$PWD" --env PYTHONPATH ${CONTAINER_OPTIONS:-} "$@"
