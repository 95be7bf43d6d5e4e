#!/usr/bin/env bash
# Trains under Slurm on one or several machines: one process per GPU, all of them one training.
#
#   sbatch launch/slurm.sh                                                  # from the checkout
#   CONFIG=configs/red_cnn.py RUN=runs/red_cnn sbatch --nodes=2 launch/slurm.sh --config.train.seed=1
#
# To change: the #SBATCH lines, for your cluster (--ntasks-per-node is the number of GPUs per
# node), and the four variables below them, here or in the environment. All nodes must see the
# checkout, STORE and RUN under the same path.
#
# There is one process per GPU because of JAX's detection of Slurm: each task takes the GPU of its
# number on the node. A task must therefore see all GPUs of its node: do not use --gpus-per-task.
#
# It resumes by itself. Two minutes before the time limit, and when preempted, the training gets
# SIGTERM, saves, and exits with 75; then the job requeues itself and runs the same command again.
# Bad input (2), a divergence (3), a bug (1) and scancel end it for good.
#
#SBATCH --job-name=cpca
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

CONFIG=${CONFIG:-configs/cpca1.py}
STORE=${STORE:-stores/mayo}
RUN=${RUN:-runs/cpca1}
PYTHON=${PYTHON:-.venv/bin/python}

trap : TERM # scancel signals this script too, which must wait for the tasks to end
code=0
# A lost task ends the others within two minutes; tasks that stop may end one after the other.
srun --kill-on-bad-exit=0 --wait=120 "$PYTHON" train.py --distributed=auto \
  --config="$CONFIG" --workdir="$RUN" --config.data.store="$STORE" "$@" || code=$?

state=$(squeue --noheader --job="$SLURM_JOB_ID" --format=%T)
case $code:$state in
  # 75: stopped and saved; 130: stopped before the first step. A cancelled job is not RUNNING.
  75:RUNNING | 130:RUNNING) scontrol requeue "$SLURM_JOB_ID" ;;
esac
exit "$code"
