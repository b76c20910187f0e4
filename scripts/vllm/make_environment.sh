#!/usr/bin/env bash
# Makes an environment with vLLM for a CPU: make_environment.sh FOLDER [PYTHON]. About 3.5 GB.
# The CPU build of torch that it needs is not on PyPI: set PIP_FIND_LINKS to a folder that has it, or
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.
set -euo pipefail
folder=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"${2:-python3}" -m venv --clear "$folder"
"$folder/bin/pip" install --quiet -r "$root/requirements/vllm.txt"
"$folder/bin/pip" install --quiet -c "$root/requirements/vllm.txt" -e "$root[remote,vlm]"
# Those on PyPI need CUDA's libraries, and transformers and vLLM import them if they are there.
"$folder/bin/pip" uninstall --quiet --yes torchaudio torchcodec
packages=$("$folder/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
cp "$root/scripts/vllm/torchvision_schemas.py" "$packages/"
echo "import torchvision_schemas" > "$packages/torchvision_schemas.pth"
"$folder/bin/python" -c "import torchvision, vllm"
