"""The suite of milabench's overview, with the slip it has (``inherits: _resnet50``), and corrected."""

OVERVIEW = """\
include:
   - base.yaml

_defaults:
   max_duration: 600                           # Bench time out
   voir:
      options:
         stop: 60                            # Bench stops after gathering 60 observations
         interval: "1s"                      # Gathering interval

   validation:                                 # Validation (disabled by default)
      usage:
         gpu_load_threshold: 0.5             # ensure GPU load is higher than 50%
         gpu_mem_threshold: 0.5              # ensure GPU memory is higher than 50%

_torchvision:
   inherits: _defaults                         # base configuration
   definition: ../benchmarks/torchvision       # benchmark definition location
   group: torchvision
   install_group: torch                        # venv name to use for this benchmark
   plan:                                       # Specify how the benchmark is scheduled
      method: per_gpu                          # `per_gpu` means it will spawn one bench per GPU
   argv:                                       # arguments to forward
      --precision: 'tf32-fp16'
      --lr: 0.01
      --no-stdout: true
      --epochs: 50
      --num-workers: 8

resnet50:                                          # benchmark name "_" are "private" and never run
   inherits: _torchvision
   tags:                                           # selection tags
      - vision
      - classification
      - convnet
      - resnet

   argv:
      --model: resnet50
      --batch-size: 64
      --num-workers: "{cpu_per_gpu}"              # Placeholder variable to be resolved

# milabench can also define matrix job
resnet-matrix-noio:
   matrix:
      batch-size: [32, 64, 128, 256, 512, 1024]

   job:
      name: 'resnet50-noio-bs{batch-size}'
      inherits: _resnet50
      argv:
         --batch-size: '{batch-size}'
         --synthetic-data: true
         --fixed-batch: true
"""
CORRECTED = OVERVIEW.replace("inherits: _resnet50", "inherits: resnet50")
SIZES = (32, 64, 128, 256, 512, 1024)
