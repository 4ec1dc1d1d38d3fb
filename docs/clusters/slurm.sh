#!/usr/bin/env bash
# Slurm: Ray on all nodes of one allocation, the suite on the first of them, and everything stopped at its end.
#
#   sbatch docs/clusters/slurm.sh paper
#   sbatch docs/clusters/slurm.sh paper --data-root "$HOME/datasets" --download
#   sbatch docs/clusters/slurm.sh my.yaml --timeout 2h          # a file; all options of 'splitbench run'
#   sbatch docs/clusters/slurm.sh sweep-quick sweep             # a sweep; all options of 'splitbench sweep'
#   sbatch --array=1-4 docs/clusters/slurm.sh paper             # four allocations, a quarter of the cells each
#
# Once, on the login node, in a folder that all nodes share:
#   python3.11 -m venv "$HOME/splitbench-env"
#   "$HOME/splitbench-env/bin/pip" install '.[cluster]' 'ray[default,tune]==2.60.0' 'torch==2.14.1' 'torchvision==0.29.1' \
#     'click==8.5.1' 'filelock==4.2.12' 'jaxtyping==0.3.11' 'numpy==2.4.6' 'optuna==5.0.0' 'pillow==13.0.0' \
#     'platformdirs==4.14.7' 'psutil==7.2.2' 'pyarrow==26.0.1' 'pydantic==2.14.3' 'pyyaml==6.0.3' 'rich==15.0.0' \
#     'safetensors==0.8.0' 'scikit-learn==1.9.1' 'scipy==1.17.1' 'typing-extensions==4.16.0' 'jinja2==3.1.6' 'vl-convert-python==1.9.0'
#   "$HOME/splitbench-env/bin/ray" get-auth-token --generate > /dev/null
#
# An allocation that ends early loses running cells only; the same command goes on where it stopped.
#SBATCH --job-name=splitbench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --output=splitbench-%j.log
# SIGTERM comes two minutes before the end: running cells are then stored as interrupted.
#SBATCH --signal=TERM@120

set -euo pipefail
suite=${1:?"which suite? e.g. sbatch docs/clusters/slurm.sh paper"}
shift
verb=run
if [[ ${1:-} == run || ${1:-} == sweep ]]; then
  verb=$1
  shift
fi
name=$(basename "$suite")
name=${name%.*}
shard=()
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
  number=$(((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN) / SLURM_ARRAY_TASK_STEP + 1))
  if ((number > SLURM_ARRAY_TASK_COUNT)); then
    echo "slurm.sh: --array takes a range, such as 1-4; of a list, Slurm does not say which task is which" >&2
    exit 2
  fi
  shard=(--shard "$number/$SLURM_ARRAY_TASK_COUNT")
fi
environment="$HOME/splitbench-env"
export PATH="$environment/bin:$PATH" RAY_AUTH_MODE=token
# In a folder that all nodes share, so that weights are trained once and checkpoints are found on every node.
export SPLITBENCH_CACHE="${SPLITBENCH_CACHE:-$SLURM_SUBMIT_DIR/splitbench-cache}"

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
port=$((20000 + SLURM_JOB_ID % 20000))

srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --kill-on-bad-exit=0 \
  ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --include-dashboard=false --disable-usage-stats \
  -- splitbench "$verb" "$suite" --address "$head:$port" --results "$SLURM_SUBMIT_DIR/results/$name" \
  ${shard[@]+"${shard[@]}"} "$@"
