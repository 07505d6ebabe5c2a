#!/bin/bash
# Trains one run on two nodes that share a file system:
#
#   sbatch configs/cluster/slurm.sh --flagfile=configs/sts_ct_pet.flags --dataset=DATASET --output=RUN
#
# Arguments are those of semicml_tf.train. Before the time is over, Slurm sends SIGTERM: the run saves its state and ends. If a
# node fails, --requeue starts the job again. In both cases, the same command resumes the run.
#SBATCH --job-name=semicml-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu

port=$((20000 + SLURM_JOB_ID % 20000))
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$port\"/" | paste -sd, -)
export CLUSTER="{\"worker\": [$hosts]}"

# Since Slurm 22.05, srun does not take this from the batch job.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
# If one task fails, the others would wait for it without end: srun ends them.
exec srun --kill-on-bad-exit=1 bash -c '
  export TF_CONFIG="{\"cluster\": $CLUSTER, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  exec "${PYTHON:-python}" -m semicml_tf.train "$@" --resume
' train "$@"
