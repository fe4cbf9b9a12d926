"""Slurm from outside of its jobs: what is submitted, as text and arguments; what became of it; profiles.

All is pure but ``commands``, which runs sbatch, squeue and scancel, and ``profiles`` and ``records``, which read and
write files.
"""
