"""Write one YAML file of benchmarks; install, prepare and run it on every device; get a verdict."""

__version__ = "0.1.0"
