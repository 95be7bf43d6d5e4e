#!/usr/bin/env bash
# Trains on a Cloud TPU VM of one or many hosts: one process per host, all of them one training.
#
#   launch/tpu_vm.sh                                      # from the checkout, with gcloud set up
#   TYPE=v5litepod-64 RUN=/mnt/cpca/runs/red_cnn CONFIG=configs/red_cnn.py launch/tpu_vm.sh
#
# To change: the variables below, here or in the environment. SHARE is an NFS export (Filestore) in
# the network of the TPU, which all hosts mount at /mnt/cpca; STORE and RUN lie on it. The last
# commit of the checkout is what runs.
#
# How it resumes: when the spot TPU is taken away, this script deletes its remains, creates it again
# as soon as one is available, and runs the same command, which continues from its last checkpoint.
# A second run by hand does the same. Any other end of the training ends this script with the exit
# code of the training. The TPU is not deleted, and costs until you delete it. To save and stop:
#
#   gcloud compute tpus tpu-vm ssh cpca --zone=us-west4-a --worker=all --command='pkill -TERM -f train.py'
set -euo pipefail

NAME=${NAME:-cpca}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-16}
IMAGE=${IMAGE:-v2-alpha-tpuv5-lite}
SHARE=${SHARE:-10.0.0.2:/share}
CONFIG=${CONFIG:-configs/cpca1.py}
STORE=${STORE:-/mnt/cpca/stores/mayo}
RUN=${RUN:-/mnt/cpca/runs/cpca1}

tpus() { gcloud compute tpus tpu-vm "$@" --zone="$ZONE"; }
everywhere() { tpus ssh "$NAME" --worker=all --command="$1"; }
state() { tpus describe "$NAME" --format='value(state)' 2> /dev/null || echo NONE; }

create() {
  while true; do
    case $(state) in
      READY) return ;;
      NONE) tpus create "$NAME" --accelerator-type="$TYPE" --version="$IMAGE" --spot || sleep 300 ;;
      PREEMPTED | TERMINATED | STOPPED) tpus delete "$NAME" --quiet ;;
      *) sleep 30 ;; # in transition to one of these
    esac
  done
}

# The Python of the images is older than the program needs.
install() {
  git archive --format=tar.gz --output="$archive" HEAD &&
    tpus scp "$archive" "$NAME:cpca_jax.tar.gz" --worker=all &&
    everywhere "set -e
      mkdir -p cpca_jax && tar -xzf cpca_jax.tar.gz -C cpca_jax && cd cpca_jax
      python3 -m pip install --quiet --user uv
      [ -d .venv ] || python3 -m uv venv --quiet --python 3.12 .venv
      python3 -m uv pip install --quiet --python .venv -r requirements.txt 'jax[tpu]'
      mountpoint -q /mnt/cpca && exit
      sudo apt-get install --yes --quiet nfs-common
      sudo mkdir -p /mnt/cpca && sudo mount $SHARE /mnt/cpca"
}

train() {
  local command
  printf -v command '%q ' .venv/bin/python train.py --distributed=auto \
    --config="$CONFIG" --workdir="$RUN" --config.data.store="$STORE" "$@"
  everywhere "cd cpca_jax && $command"
}

archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
while true; do
  create
  code=0
  { install && train "$@"; } || code=$?
  [[ $code -ne 0 ]] || exit 0
  sleep 60 # the state of a TPU that is being taken away changes with a delay
  [[ $(state) != READY ]] || exit "$code"
  echo "the TPU was taken away; starting again"
done
