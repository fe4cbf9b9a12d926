#!/bin/sh
# Processes of one trial run at the same time; a blank line ends a trial.
# Time limits are not part of this script: only `milabench run` ends what takes too long.
set -e

# torch
(cd <project>/base && env MILABENCH_DIR_VENV=<project>/base/venv/torch MILABENCH_DIR_DATA=<project>/base/data MILABENCH_DIR_RUNS=<project>/base/runs MILABENCH_DIR_EXTRA=<project>/base/extra/train MILABENCH_DIR_CACHE=<project>/base/cache MILABENCH_DIR_CODE=<project>/base/code/plain VIRTUAL_ENV=<project>/base/venv/torch PATH=<project>/base/venv/torch/bin:/usr/local/bin:/usr/bin:/bin OMP_NUM_THREADS=8 MILABENCH_ARCH=cuda MILABENCH_INSTALLER=uv MILABENCH_UV=<uv> <python> -m virtualenv --python <python> <project>/base/venv/torch)
(cd <project>/base && env MILABENCH_DIR_VENV=<project>/base/venv/torch MILABENCH_DIR_DATA=<project>/base/data MILABENCH_DIR_RUNS=<project>/base/runs MILABENCH_DIR_EXTRA=<project>/base/extra/train MILABENCH_DIR_CACHE=<project>/base/cache MILABENCH_DIR_CODE=<project>/base/code/plain VIRTUAL_ENV=<project>/base/venv/torch PATH=<project>/base/venv/torch/bin:/usr/local/bin:/usr/bin:/bin OMP_NUM_THREADS=8 MILABENCH_ARCH=cuda MILABENCH_INSTALLER=uv MILABENCH_UV=<uv> <uv> pip install --python <project>/base/venv/torch/bin/python --index-strategy unsafe-best-match -r <project>/base/code/plain/requirements.in -c <project>/base/cache/constraints/<hash>/cuda.txt 'benchmate @ file://<project>/base/cache/wheels/benchmate-<version>-py3-none-any.whl')
