#!/bin/sh
# Runs a command in a container as a job: container.sh IMAGE COMMAND [ARGUMENT]...
#
# What Heliotrope hands over is seen inside under the same paths: the working folder with the checkpoints, the one to
# resume from, the socket, the module heliotrope.job. The container's exit code is the job's, and it gets the job's signals.
# CONTAINER_ENGINE: podman (default) or docker, see docs/frameworks.md for what docker cannot promise; echo shows the
# command instead of running it. CONTAINER_OPTIONS adds options.
set -eu
engine=${CONTAINER_ENGINE:-podman}
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
if [ "${engine##*/}" = docker ]; then
    # Its own runtime hands out GPUs; quotes inside, because commas divide the option's own fields.
    [ -z "${CUDA_VISIBLE_DEVICES:-}" ] || set -- --gpus "\"device=$CUDA_VISIBLE_DEVICES\"" "$@"
    # The daemon is root: without --user every file in the working folder would be root's. A fixed name: what a killed
    # client left running of an earlier start on this node is removed, not joined.
    name="heliotrope-${HELIOTROPE_JOB_ID:-$$}"
    "$engine" rm --force "$name" >/dev/null 2>&1 || true
    set -- --name "$name" --user "$(id -u):$(id -g)" "$@"
else
    # One device per GPU that the job was given, by the container device interface (nvidia-ctk cdi generate).
    for uuid in $(echo "${CUDA_VISIBLE_DEVICES:-}" | tr ',' ' '); do
        set -- --device "nvidia.com/gpu=$uuid" "$@"
    done
    # The container stays in the job's own control group, and ends with it whatever happens to podman.
    set -- --cgroups=split --userns=keep-id "$@"
fi
# --init: the command is not process 1, which ignores SIGTERM unless it handles it.
# shellcheck disable=SC2086 # options are words
exec "$engine" run --rm --init --network=none --security-opt label=disable --workdir "$PWD" --env PYTHONPATH \
    ${CONTAINER_OPTIONS:-} "$@"
