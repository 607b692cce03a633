#!/bin/sh
# A wrapper as clusters have them: it prepares, runs the training as a child, tidies up, and passes its exit code on.
# Without `exit $code` a stop would look like success. TRAIN_PYTHON names the interpreter.
echo "training in $PWD on $(uname -n)"
"${TRAIN_PYTHON:-python3}" train_torch.py "$@"
code=$?
echo "training ended with exit code $code"
exit $code
