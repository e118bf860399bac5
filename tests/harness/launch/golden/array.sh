#!/bin/bash

# Parameters
#SBATCH --account=lab
#SBATCH --array=0,2-3%2
#SBATCH --comment='paper repro:20260801-120000-00ff00'
#SBATCH --cpus-per-task=4
#SBATCH --dependency=afterok:7,aftercorr:9
#SBATCH --error=/out/batches/20260801-120000-00ff00/%A_%a_0_log.err
#SBATCH --gpus-per-node=8
#SBATCH --job-name=repro-finetune-20260801-120000-00ff00
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --open-mode=append
#SBATCH --output=/out/batches/20260801-120000-00ff00/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=60
#SBATCH --wckey=submitit

# setup
cd "/out/code/0123" || exit 1
export PYTHONPATH="/out/code/0123${PYTHONPATH:+:$PYTHONPATH}"
pickle="/out/batches/20260801-120000-00ff00/${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}_submitted.pkl"
[ -e "$pickle" ] || { cp "/out/batches/20260801-120000-00ff00/element.pkl" "$pickle.tmp" && mv -n "$pickle.tmp" "$pickle"; }
module load cuda

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /out/batches/20260801-120000-00ff00/%A_%a_%t_log.out --error /out/batches/20260801-120000-00ff00/%A_%a_%t_log.err --kill-on-bad-exit=1 --cpus-per-task=4 --export=ALL /opt/python -u -m submitit.core._submit /out/batches/20260801-120000-00ff00
