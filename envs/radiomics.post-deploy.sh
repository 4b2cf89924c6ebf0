#!/usr/bin/env bash
# PyRadiomics compiles against the numpy that this environment has by now: pip's build isolation would hide it.
set -euo pipefail
python -m pip install --no-build-isolation pyradiomics==3.0.1
